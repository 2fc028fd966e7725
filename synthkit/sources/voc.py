"""Pascal VOC as distributed (Everingham et al. 2010): an image's class is that of its largest object."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import MissingSource, SourceError, UnreadableImage
from synthkit.sources.base import Listing
from synthkit.sources.decoding import decode_palette
from synthkit.sources.files import ImageFiles, check_inside, check_regular, expanded, get_it

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.recipe.families import VocSourceConfig

# In the order of their indices in the masks, which start at 1.
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted plant",
    "sheep",
    "sofa",
    "train",
    "tv monitor",
)
BACKGROUND, BORDER = 0, 255
_LISTS = "ImageSets/Segmentation"
_MASKS = ("SegmentationClass", "SegmentationObject")


def open_voc(config: VocSourceConfig) -> ImageFiles:
    """Open the images of a segmentation list; the label is the class of the object with the most pixels.

    Background and border pixels belong to no object; images without an object are left out. Ids are
    `JPEGImages/2007_000032.jpg`, in the order of the list. Raises SourceError if a file is missing
    or is not as distributed.
    """
    root = _root(config)
    names = _names(root / _LISTS / f"{config.split}.txt", config.available_from)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        labels = list(pool.map(lambda name: _label(root, name), names))
    chosen = [(name, label) for name, label in zip(names, labels, strict=True) if label is not None]
    ids = tuple(f"JPEGImages/{name}.jpg" for name, _ in chosen)
    listing = Listing(CLASSES, ids, np.array([label for _, label in chosen], dtype=np.int32))
    return ImageFiles(listing, root, ids)


def largest_object(classes: NDArray[np.uint8], objects: NDArray[np.uint8]) -> int | None:
    """Return the class index (1 to 20) of the object with the most pixels, or None without an object.

    `classes` and `objects` are the (H, W) uint8 palette indices of SegmentationClass and
    SegmentationObject. Of objects of the same size, the one with the lowest number counts.
    """
    inside = (objects != BACKGROUND) & (objects != BORDER) & (classes != BACKGROUND) & (classes != BORDER)
    if not inside.any():
        return None
    biggest = int(np.bincount(objects[inside]).argmax())
    return int(np.bincount(classes[inside & (objects == biggest)]).argmax())


def _root(config: VocSourceConfig) -> Path:
    for folder in _roots(config):
        if (folder / _LISTS).is_dir():
            return folder
    raise MissingSource(
        f"source.root: {config.root} has no {_LISTS}; set it to VOCdevkit/VOC2012"
        f"{get_it(config.available_from)}"
    )


def _roots(config: VocSourceConfig) -> tuple[Path, ...]:
    top = expanded(config.root)
    return top, top / "VOC2012", top / "VOCdevkit" / "VOC2012"


def paths_read(config: VocSourceConfig) -> list[Path]:
    """Return the folders of lists, images and masks, wherever below the root they may be."""
    return [root / name for root in _roots(config) for name in (_LISTS, "JPEGImages", *_MASKS)]


def _names(path: Path, available_from: str) -> list[str]:
    check_regular(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise MissingSource(f"{path}: is missing or is not text{get_it(available_from)}") from None
    names = [_name(line.strip(), f"{path}: line {number}") for number, line in enumerate(lines, start=1)]
    names = [name for name in names if name]
    if not names:
        raise MissingSource(f"{path}: is empty")
    repeated = (
        next((name for number, name in enumerate(names) if name in names[:number]), None)
        if len(set(names)) < len(names)
        else None
    )
    if repeated:
        raise SourceError(f"{path}: lists {repeated} twice; keep one of them")
    return names


def _name(line: str, where: str) -> str:
    """Return the image's name on a line of a list; an empty text for an empty line.

    Raises SourceError for more than a name: lists of ImageSets/Main have a number after it, and no masks.
    """
    if len(line.split()) > 1:
        raise SourceError(f"{where}: {line[:80]!r} is more than a name: get the lists of {_LISTS} again")
    if line.lower().endswith(".jpg"):
        told = f"{where}: write the name without its ending"
        raise SourceError(f"{where}: {line[:80]!r}: write the name without its ending", told=told)
    return check_inside(line, where) if line else ""


def _label(root: Path, name: str) -> int | None:
    masks = [_mask(root / folder / f"{name}.png") for folder in _MASKS]
    if masks[0].shape != masks[1].shape:
        raise SourceError(f"{root}: the two masks of {name} differ in size: get the data set again")
    index = largest_object(masks[0], masks[1])
    if index is None:
        return None
    if index > len(CLASSES):
        raise SourceError(f"{root}/SegmentationClass/{name}.png: has class {index}; VOC has {len(CLASSES)}")
    return index - 1


def _mask(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise SourceError(f"{path}: is missing: VOC's masks are what its labels come from")
    try:
        return decode_palette(path.read_bytes(), str(path))
    except UnreadableImage as error:
        raise SourceError(f"{path}: {error.reason}, as a mask of VOC must be: get the original") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
