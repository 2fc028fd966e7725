"""Parquet files whose rows have the image beside its record: `datasets`, pandas, and the Hub's viewer.

    data/train-00000-of-00003.parquet

`image` is the Image feature of `datasets`, `label` a ClassLabel with the classes' names; the features stand
in each file, so that no card is needed to load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.exports.tables import RowsFile, schema_of
from synthkit.release.files import SPLIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest

# A file has about as many bytes, as the Hub advises; a row group so many images, as its viewer reads them.
_FILE_BYTES = 500_000_000
_ROWS = 100


class ParquetFiles:
    """Writes files of rows, one after the other; a Writer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        from datasets import Image

        self._schema = schema_of(manifest, {"image": Image()})
        (folder / "data").mkdir()
        counts = list(_images_of_files(manifest))
        names = (f"{SPLIT}-{place:05d}-of-{len(counts):05d}.parquet" for place in range(len(counts)))
        self._next = iter(
            [(folder / "data" / name, count) for name, count in zip(names, counts, strict=True)]
        )
        self._left = 0
        self._file: RowsFile | None = None

    def add(self, stored: StoredImage) -> None:
        """Write a row; the next file begins where the last one has its images."""
        if not self._left:
            self.close()
            path, self._left = next(self._next)
            self._file = RowsFile(path, self._schema, _ROWS)
        assert self._file is not None  # noqa: S101 (for the type checker)
        name = f"{stored.record.key}.{stored.extension}"
        self._file.add({"image": {"bytes": stored.image, "path": name}, **stored.record.to_row()})
        self._left -= 1

    def close(self) -> None:
        """Write the end of the file in hand."""
        if self._file is not None:
            self._file.close()

    def abandon(self) -> None:
        """Close the file in hand."""
        if self._file is not None:
            self._file.abandon()


def _images_of_files(manifest: Manifest) -> Iterator[int]:
    """Yield how many images each file gets: those of as many shards as make it large enough."""
    images = size = 0
    for shard in manifest.shards:
        images, size = images + (shard.images or 0), size + shard.bytes
        if size >= _FILE_BYTES:
            yield images
            images = size = 0
    if images:
        yield images
