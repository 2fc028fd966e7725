"""A folder of images with one sub-folder per class: the layout of torchvision's ImageFolder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError, UnreadableImage
from synthkit.records import Listing
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


class FolderSource:
    """Classes are the sub-folders in alphabetical order; ids are paths below the root, with `/`.

    Images may lie at any depth of a class folder; whatever is hidden or no image is passed over.
    """

    def __init__(self, root: str) -> None:
        # Path.expanduser raises for an unknown user; a folder may well be called ~x.
        self._root = Path(os.path.expanduser(root))  # noqa: PTH111
        if not self._root.is_dir():
            raise SourceError(
                f"source.root: there is no folder {root}; set it to the folder of class folders"
            )
        classes = sorted(item.name for item in self._root.iterdir() if _is_class(item))
        if not classes:
            raise SourceError(f"source.root: {root} has no class folders; expected {root}/CLASS/IMAGE.jpg")
        ids: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = sorted(_images_below(self._root / name, self._root))
            ids.extend(found)
            labels.extend([label] * len(found))
        self.listing = Listing(tuple(classes), tuple(ids), np.array(labels, dtype=np.int32))

    def load(self, index: int) -> tuple[Image.Image, str]:
        """The image (RGB) at a position of the listing and the SHA-256 of its file."""
        path = self._root / self.listing.ids[index]
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise UnreadableImage(str(path), error.strerror or "it cannot be opened") from None
        return decode(raw, str(path)), hashlib.sha256(raw).hexdigest()


def _is_class(item: Path) -> bool:
    return item.is_dir() and not item.name.startswith(".")


def _images_below(folder: Path, root: Path) -> list[str]:
    found = [
        path.relative_to(root)
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    ]
    names = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    for name in names:
        # Neither a name that is not UTF-8 nor a line break could be written down.
        if not name.isprintable():
            raise SourceError(f"source.root: {name!r} has a name that cannot be printed; rename it")
    return names
