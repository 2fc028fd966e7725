"""Reads the tables of records, in which each row group is a shard and each row an image: one for each block.

The release may be a stranger's, and a Parquet file of some kilobytes can unpack to any size, since equal
values are stored once. So before a row is read, the numbers in the file's footer are compared with the
release's, and the lengths of strings are summed before the strings are unpacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError
from synthkit.release.bounded_parquet import check_tail, check_values, parquet_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq

    from synthkit.release.manifest import Manifest

# The fewest bytes of a row: its SHA-256 is random and takes them.
_LEAST_PER_ROW = 32
# The most bytes of a row, and of a row group, unpacked.
_MOST_PER_ROW = 1 << 16
_MOST_PER_GROUP = 1 << 28
_FOOTER, _FOOTER_PER_GROUP = 1 << 20, 1 << 17
_OURS = frozenset({b"ARROW:schema"})


class UnreadableRecords(ReleaseError):
    """The table is missing, or is not the table of its release; `reason` is the message without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


class RecordTables:
    """The tables of records of a release, one after the other.

    Raises UnreadableRecords if a file is missing, or is not a table of so many rows.
    """

    def __init__(self, release: Path, manifest: Manifest) -> None:
        form, tables = manifest.format_version, manifest.tables()
        self._tables = [RecordTable(release / path, rows, form) for path, rows in tables.items()]

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of every shard, one shard at a time. Raises UnreadableRecords."""
        for table in self._tables:
            yield from table.parts(columns)


class RecordTable:
    """The table of records in a Parquet file; `rows` are the numbers of images in its shards.

    `form` is the format of the release. Raises UnreadableRecords if the file is missing, or is not a table of
    so many rows.
    """

    def __init__(self, path: Path, rows: Sequence[int], form: int) -> None:
        self._path, self._rows = path, rows
        try:
            with parquet_errors():
                with path.open("rb") as stream:
                    size = check_tail(stream, _FOOTER + len(rows) * _FOOTER_PER_GROUP)
                self._plain, self._strings = _open(path)
                _check_footer(self._plain, size, rows, form)
        except ValueError as error:
            raise UnreadableRecords(path, str(error)) from None

    def read(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of one shard, all columns or some. Raises UnreadableRecords."""
        try:
            with parquet_errors():
                names = set(columns or self._plain.schema_arrow.names)
                strings = [name for name in self._names_of_strings() if name in names]
                _check_lengths(self._strings.read_row_group(shard, columns=strings), self._rows[shard])
                return self._plain.read_row_group(shard, columns=columns)
        except ValueError as error:
            raise UnreadableRecords(self._path, str(error)) from None

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of every shard, one shard at a time. Raises UnreadableRecords."""
        for shard in range(len(self._rows)):
            yield self.read(shard, columns)

    def _names_of_strings(self) -> list[str]:
        return [field.name for field in self._plain.schema_arrow if "string" in str(field.type)]


def _open(path: Path) -> tuple[pq.ParquetFile, pq.ParquetFile]:
    """Open the file twice: as plain columns, and with string columns as dictionaries of distinct values."""
    import pyarrow.parquet as pq

    plain = pq.ParquetFile(path)
    schema = plain.metadata.schema
    leaves = [schema.column(number) for number in range(len(schema))]
    strings = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    return plain, pq.ParquetFile(path, metadata=plain.metadata, read_dictionary=strings)


def _check_footer(file: pq.ParquetFile, size: int, rows: Sequence[int], form: int) -> None:
    """Raise ValueError unless the footer states these rows, with sizes that are possible."""
    from synthkit.release.records import arrow_schema

    metadata = file.metadata
    if not file.schema_arrow.equals(arrow_schema(form)):
        raise ValueError("its columns are not those of provenance records")
    if (metadata.metadata or {}).keys() - _OURS or file.schema_arrow.metadata:
        raise ValueError("it holds more than provenance records: metadata of its own")
    if metadata.num_row_groups != len(rows):
        raise ValueError(f"it has {metadata.num_row_groups:,} row groups for {len(rows):,} shards")
    stored = sum(
        _check_group(metadata.row_group(number), number, rows[number]) for number in range(len(rows))
    )
    if sum(rows) * _LEAST_PER_ROW > size:
        raise ValueError(f"it says it has {sum(rows):,} rows, in {size:,} bytes")
    if stored > size:
        raise ValueError(f"its columns say they take {stored:,} bytes, the file has {size:,}")


def _check_group(group: pq.RowGroupMetaData, number: int, rows: int) -> int:
    """Return the bytes that a row group takes in the file.

    Raises ValueError if it states another number of rows, or sizes that so many rows cannot have.
    """
    if group.num_rows != rows:
        raise ValueError(f"it has {group.num_rows:,} rows for shard {number}, which has {rows:,} images")
    columns = [group.column(place) for place in range(group.num_columns)]
    for column in columns:
        check_values(column, rows)
    unpacked = max(group.total_byte_size, sum(column.total_uncompressed_size for column in columns))
    if unpacked > _most(rows):
        raise ValueError(f"its rows for shard {number} say they take {unpacked:,} bytes when unpacked")
    return sum(column.total_compressed_size for column in columns)


def _most(rows: int) -> int:
    """Return the most bytes that so many rows may take when unpacked."""
    return min(_MOST_PER_GROUP, (rows + 1) * _MOST_PER_ROW)


def _check_lengths(strings: pa.Table, rows: int) -> None:
    """Raise ValueError if strings, read as dictionaries, would unpack to too many bytes for so many rows."""
    total = sum(_letters(chunk) for column in strings.columns for chunk in column.chunks)
    if total > _most(rows):
        raise ValueError(f"its strings for {rows:,} rows would take {total:,} bytes")


def _letters(array: pa.Array) -> int:
    """Return the bytes of all strings in an array, also of those inside lists and structs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(array.type):
        return _letters(array.flatten())
    if pa.types.is_struct(array.type):
        return sum(_letters(part) for part in array.flatten())
    if not pa.types.is_dictionary(array.type):
        return 0
    lengths = pc.binary_length(array.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(array.indices)).as_py() or 0)
