"""A folder for each class, and a table of records beside them: the ImageFolder of `datasets` and torchvision.

    train/0000_zero/000000017.png
    train/metadata.parquet

The table is Parquet and not JSON lines: of these `datasets` guesses the types from the first 10 MB, in
which a list that is empty so far (`rejected`, say) gets another type than the images that follow need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.exports.names import folder_names
from synthkit.exports.tables import RowsFile, schema_of
from synthkit.release.files import SPLIT

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest

# `datasets` knows the table by this name, and finds each image by the column.
_TABLE, _FILE = "metadata.parquet", "file_name"
_ROWS = 1000


class ImageFolder:
    """Writes a folder of images for each class; a Writer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        from datasets import Value

        self._root = folder / SPLIT
        self._names = folder_names([item.name for item in manifest.classes])
        for name in self._names:
            # Of a class without images too: torchvision numbers classes by their folders.
            (self._root / name).mkdir(parents=True)
        schema = schema_of(manifest, {_FILE: Value("string")})
        self._table = RowsFile(self._root / _TABLE, schema, _ROWS)

    def add(self, stored: StoredImage) -> None:
        """Write an image into the folder of its class, and its row."""
        name = f"{self._names[stored.record.label]}/{stored.record.key}.{stored.extension}"
        (self._root / name).write_bytes(stored.image)
        self._table.add({_FILE: name, **stored.record.to_row()})

    def close(self) -> None:
        """Write the end of the table."""
        self._table.close()

    def abandon(self) -> None:
        """Close the table."""
        self._table.abandon()
