"""COCO (Lin et al. 2014) and data sets in its format: an image's label is that of its largest annotation."""

from __future__ import annotations

from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError
from synthkit.sources import instances
from synthkit.sources.base import Listing
from synthkit.sources.files import ImageFiles, check_listed, expanded
from synthkit.system.names import same_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.recipe.families import CocoSourceConfig
    from synthkit.sources.instances import Annotation, Category, Id, Image

_ID, _CATEGORY, _IMAGE = attrgetter("id"), attrgetter("category_id"), attrgetter("image_id")


def open_coco(config: CocoSourceConfig) -> ImageFiles:
    """Open the images that have an annotation; the label is the category of the largest by area.

    Of annotations with the same area, the one with the lowest id counts. Labels number the categories in the
    order of their ids, which have gaps in COCO itself. Image ids are `train2017/000000000009.jpg`, in a data
    set of one's own the names alone, both in the order of the names. Raises SourceError for another kind of
    file, for ids and names that occur twice, and for an annotation of a category that is not listed.
    """
    file, folder = _file_and_folder(config)
    place = "source.root" if config.annotations is None else "source.annotations"
    data, notes = instances.read(file, config.got_from(), place)
    categories = _categories(data.categories, file)
    image_of = _images(data.images, file, config.place)
    known = {key: number for number, key in enumerate(categories)}
    _check_annotations(data.annotations, known, file)
    notes += _unlisted(data.annotations, image_of, file)
    label_of = _largest(data.annotations, known, file)
    chosen = sorted((image_of[key], label) for key, label in label_of.items() if key in image_of)
    if not chosen:
        raise SourceError(f"{file}: has no image with an annotation")
    prefix = "" if config.images else f"{config.split}2017/"
    listing = Listing(
        tuple(categories.values()),
        tuple(f"{prefix}{name}" for name, _ in chosen),
        np.array([label for _, label in chosen], dtype=np.int32),
    )
    return ImageFiles(listing, folder, tuple(name for name, _ in chosen), tuple(notes))


def paths_read(config: CocoSourceConfig) -> list[Path]:
    """Return the annotation file and the folder of images."""
    return [*_file_and_folder(config)]


def _file_and_folder(config: CocoSourceConfig) -> tuple[Path, Path]:
    if config.annotations is not None and config.images is not None:
        return expanded(config.annotations), expanded(config.images)
    root, part = expanded(config.root or ""), f"{config.split}2017"
    nested = root / "images" / part
    return root / "annotations" / f"instances_{part}.json", nested if nested.is_dir() else root / part


def _categories(found: Sequence[Category], file: Path) -> dict[Id, str]:
    """Return the categories' names by id, in the order of the ids.

    Raises SourceError for an id or a name that occurs twice.
    """
    names: dict[Id, str] = {}
    id_of: dict[str, Id] = {}
    for item in found:
        key, name = item.id, item.name
        if key in names:
            raise SourceError(
                f"{file}: category {key!r} is listed twice, as {names[key]!r} and as {name!r}: "
                "give each an id of its own, or remove one"
            )
        if name in id_of:
            raise SourceError(
                f"{file}: categories {id_of[name]!r} and {item.id!r} are both called {name!r}: "
                "rename one, or make them one category"
            )
        names[key], id_of[name] = name, key
    return {key: names[key] for key in sorted(names, key=_in_order)}


def _images(found: Sequence[Image], file: Path, below: str) -> dict[Id, str]:
    """Return the images' paths by id. Raises SourceError for an id or a file that occurs twice."""
    names: dict[Id, str] = {}
    id_of: dict[str, Id] = {}
    for item in found:
        key = item.id
        name = check_listed(item.file_name, f"{file}: image {key!r}", below)
        if key in names:
            raise SourceError(
                f"{file}: image {key!r} is listed twice, as {names[key]} and as {name}: "
                "annotations of it could be of either; give each image an id of its own"
            )
        first = id_of.setdefault(same_name(name), key)
        if first != key:
            raise SourceError(f"{file}: images {first!r} and {key!r} are one file, {name}; keep one of them")
        names[key] = name
    return names


def _check_annotations(annotations: Sequence[Annotation], categories: dict[Id, int], file: Path) -> None:
    """Raise SourceError for an annotation of a category that is not listed, or an id that occurs twice."""
    # COCO has a million annotations: a loop in Python runs only to find the wrong one.
    if not set(map(_CATEGORY, annotations)) <= categories.keys():
        item = next(item for item in annotations if item.category_id not in categories)
        raise SourceError(
            f"{file}: annotation {item.id!r} is of category {item.category_id!r}, which is not listed"
        )
    if len(set(map(_ID, annotations))) == len(annotations):
        return
    seen: set[Id] = set()
    for item in annotations:
        if item.id in seen:
            raise SourceError(
                f"{file}: annotation {item.id!r} is listed twice: of annotations with the same area "
                "the lowest id counts; give each an id of its own, or remove one"
            )
        seen.add(item.id)


def _unlisted(annotations: Sequence[Annotation], images: dict[Id, str], file: Path) -> list[str]:
    """Return a note if annotations are of images that are not listed, as in a set that was made smaller."""
    if set(map(_IMAGE, annotations)) <= images.keys():
        return []
    lost = [item for item in annotations if item.image_id not in images]
    return [
        f"{file}: {len(lost):,} of {len(annotations):,} annotations are of images that are not listed, "
        f"and are left out; for one, annotation {lost[0].id!r} is of image {lost[0].image_id!r}"
    ]


def _largest(annotations: Sequence[Annotation], numbers: dict[Id, int], file: Path) -> dict[Id, int]:
    """Return the label of each image that has an annotation.

    Raises SourceError where an annotation without an area might be the largest.
    """
    largest: dict[Id, tuple[float, float, int]] = {}
    for item, place in zip(annotations, _places_of(annotations), strict=True):
        candidate = (item.area, -place, numbers[item.category_id])
        other = largest.get(item.image_id)
        if other is None or candidate > other:
            largest[item.image_id] = candidate
        # An unknown area is infinite here: the annotation might be the largest.
        if other is not None and other[2] != candidate[2] and (item.area == inf or other[0] == inf):
            raise SourceError(
                f"{file}: which annotation of image {item.image_id!r} is the largest? {item.id!r} or another "
                "has neither area nor bbox nor segmentation: add one of them, or remove it"
            )
    return {image: label for image, (_, _, label) in largest.items()}


def _places_of(annotations: Sequence[Annotation]) -> Sequence[int]:
    """Return the numbers that decide between equal areas: the ids, or their ranks if some are text."""
    ids: list[Id] = [item.id for item in annotations]
    if str not in set(map(type, ids)):
        return ids  # type: ignore[return-value]
    place_of = {number: place for place, number in enumerate(sorted(ids, key=_in_order))}
    return [place_of[number] for number in ids]


def _in_order(number: Id) -> tuple[bool, Id]:
    """Return a key that sorts numbers before texts."""
    return isinstance(number, str), number
