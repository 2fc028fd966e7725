"""COCO and what is in its format: one label per image, that of its largest annotation (Lin et al. 2014)."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from synthkit.errors import SourceError
from synthkit.records import Listing
from synthkit.sources.files import ImageFiles, check_inside, expanded, get_it

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.source_config import CocoSourceConfig


# Of the file, what is named here is decoded and the rest (polygons, most of it) is passed over.
class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    area: float


class _Instances(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def open_coco(config: CocoSourceConfig) -> ImageFiles:
    """Images with an annotation; label = category of the largest by area (ties: the lowest id).

    Labels number the categories in the order of their ids (COCO's own have gaps); image ids are
    `train2017/000000000009.jpg`, in the order of the names; in a folder of one's own, the names alone.
    Raises SourceError for any other kind of file.
    """
    annotations, images = _places(config)
    data = _read(annotations, config.available_from)
    categories = sorted(data.categories, key=lambda category: category.id)
    label_of = _largest(data, {item.id: number for number, item in enumerate(categories)}, annotations)
    chosen = sorted(
        (check_inside(image.file_name, str(annotations)), label_of[image.id])
        for image in data.images
        if image.id in label_of
    )
    if not chosen:
        raise SourceError(f"{annotations}: has no image with an annotation")
    names = tuple(name for name, _ in chosen)
    if len(set(names)) < len(names):
        raise SourceError(f"{annotations}: lists an image twice")
    labels = np.array([label for _, label in chosen], dtype=np.int32)
    prefix = "" if config.images else f"{config.split}2017/"
    listing = Listing(
        tuple(item.name for item in categories), tuple(f"{prefix}{name}" for name in names), labels
    )
    return ImageFiles(listing, images, names)


def _largest(data: _Instances, numbers: dict[int, int], file: Path) -> dict[int, int]:
    """The label of each image that has an annotation."""
    largest: dict[int, tuple[float, int, int]] = {}
    for item in data.annotations:
        number = numbers.get(item.category_id)
        if number is None:
            raise SourceError(
                f"{file}: annotation {item.id} is of category {item.category_id}, which is not listed"
            )
        candidate = (item.area, -item.id, number)
        if item.image_id not in largest or candidate > largest[item.image_id]:
            largest[item.image_id] = candidate
    return {image: label for image, (_, _, label) in largest.items()}


def _places(config: CocoSourceConfig) -> tuple[Path, Path]:
    """The annotation file and the folder of images."""
    if config.annotations is not None and config.images is not None:
        return expanded(config.annotations), expanded(config.images)
    root, part = expanded(config.root), f"{config.split}2017"
    nested = root / "images" / part
    return root / "annotations" / f"instances_{part}.json", nested if nested.is_dir() else root / part


def _read(path: Path, available_from: str) -> _Instances:
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return msgspec.json.decode(content, type=_Instances)
    except FileNotFoundError:
        raise SourceError(f"source.root: there is no {path}{get_it(available_from)}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # ValueError: an empty file cannot be mapped.
        raise SourceError(
            f"{path}: is not an instances file of COCO: {error}; "
            "captions, keypoints and panoptic files will not do"
        ) from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
