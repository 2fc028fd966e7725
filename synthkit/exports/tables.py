"""Tables of records that `datasets` reads with the types of a release: no type is guessed from values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.release.front_matter import unique_names
from synthkit.release.records import arrow_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from synthkit.release.manifest import Manifest


def schema_of(manifest: Manifest, first: Mapping[str, Any]) -> pa.Schema:
    """Return the columns of a record as `datasets` writes them, `label` with the names of the classes.

    `first` are columns that stand before them, as features of `datasets`.
    """
    from datasets import ClassLabel, Features

    record = Features.from_arrow_schema(arrow_schema(manifest.format_version))
    label = {"label": ClassLabel(names=unique_names(manifest))}
    return Features(
        {**first, **label, **{name: record[name] for name in record if name != "label"}}
    ).arrow_schema


class RowsFile:
    """A Parquet file that rows are added to; a row group is written as soon as it has `group` rows.

    The settings are those of `datasets`' to_parquet, which the Hub's viewer and its storage are made for.
    """

    def __init__(self, path: Path, schema: pa.Schema, group: int) -> None:
        import pyarrow.parquet as pq

        self._schema, self._group = schema, group
        self._file = pq.ParquetWriter(
            path, schema, use_content_defined_chunking=True, write_page_index=True, compression="zstd"
        )
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, as plain Python types."""
        self._rows.append(row)
        if len(self._rows) == self._group:
            self._write()

    def close(self) -> None:
        """Write the last rows and the footer."""
        if self._rows:
            self._write()
        self._file.close()

    def abandon(self) -> None:
        """Close the file, without the rows that are not written yet."""
        self._file.close()

    def _write(self) -> None:
        import pyarrow as pa

        self._file.write_table(
            pa.Table.from_pylist(self._rows, schema=self._schema), row_group_size=len(self._rows)
        )
        self._rows = []
