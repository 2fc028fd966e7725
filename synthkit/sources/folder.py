"""A folder of images with one sub-folder per class: the layout of torchvision's ImageFolder."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from synthkit.errors import SourceError, UnreadableImage
from synthkit.records import Listing

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


class FolderSource:
    """Classes are the sub-folders in alphabetical order; ids are paths below the root, with `/`.

    Images may lie at any depth of a class folder; hidden files and other kinds of file are passed over.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root).expanduser()
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
        name = self.listing.ids[index]
        path = self._root / name
        try:
            raw = path.read_bytes()
            with Image.open(io.BytesIO(raw)) as image:
                return image.convert("RGB"), hashlib.sha256(raw).hexdigest()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UnreadableImage(str(path), _reason(error)) from None


def _reason(error: Exception) -> str:
    """Why, in words that hold no path: the manifest repeats them."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _is_class(item: Path) -> bool:
    return item.is_dir() and not item.name.startswith(".")


def _images_below(folder: Path, root: Path) -> list[str]:
    return [
        path.relative_to(root).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    ]
