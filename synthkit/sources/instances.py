"""Instances files in COCO's format: images, annotations, categories.

Tools write them differently: ids as text, no areas, a byte order mark. COCO's own file, of 450 MB, is decoded
in one pass that skips polygons; only a file that does not fit its types is decoded by looser ones.
"""

from __future__ import annotations

import codecs
import math
import mmap
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from synthkit.errors import MissingSource, SourceError
from synthkit.sources.areas import NOTHING, area_of
from synthkit.sources.files import check_regular, get_it

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Id = int | str
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


# Only the fields of these types are decoded; the rest, most of it polygons, is skipped.
class Image(msgspec.Struct, gc=False):
    """An image: its id, and its file below the folder of images."""

    id: int
    file_name: str


class Category(msgspec.Struct, gc=False):
    """A class."""

    id: int
    name: str


class Annotation(msgspec.Struct, gc=False):
    """An object in an image; `area` in pixels."""

    id: int
    image_id: int
    category_id: int
    area: float


class Instances(msgspec.Struct):
    """The content of a file. Ids are whole numbers, or text if they are not numbers."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


_AnyId = int | float | str


class _LooseImage(msgspec.Struct):
    id: _AnyId
    file_name: str


class _LooseCategory(msgspec.Struct):
    id: _AnyId
    name: str | int


class _LooseAnnotation(msgspec.Struct):
    image_id: _AnyId
    category_id: _AnyId
    id: _AnyId | None = None
    area: float | str | None = None
    bbox: msgspec.Raw = msgspec.Raw(b"null")
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _LooseInstances(msgspec.Struct):
    images: list[_LooseImage]
    annotations: list[_LooseAnnotation]
    categories: list[_LooseCategory]


def read(path: Path, available_from: str, place: str) -> tuple[Instances, list[str]]:
    """Return the content of an instances file, and notes of what had to be guessed.

    An area that the file does not state is taken from the annotation's box or outline, and is infinite
    without them. Raises SourceError for another kind of file; `place` is the field of the recipe to mend.
    """
    check_regular(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _decode(content, path)
    except FileNotFoundError:
        raise MissingSource(f"{place}: there is no {path}{get_it(available_from)}") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        # mmap raises ValueError for an empty file.
        advice = "captions, keypoints and panoptic files will not do"
        if "UTF-8" in str(error):
            advice = "save it as UTF-8"
        raise SourceError(f"{path}: is not an instances file of COCO: {error}; {advice}") from None
    except OSError as error:
        raise MissingSource(f"{path}: cannot be read: {error.strerror}") from None


def _decode(content: mmap.mmap, path: Path) -> tuple[Instances, list[str]]:
    if content[:2] in _UTF_16:
        raise SourceError(f"{path}: is text in UTF-16; save it as UTF-8")
    begin = len(codecs.BOM_UTF8) if content[:3] == codecs.BOM_UTF8 else 0
    try:
        return _checked(msgspec.json.decode(content[begin:] if begin else content, type=Instances), path), []
    except msgspec.ValidationError:
        # From a copy: msgspec.Raw fields would keep the mapped file open.
        return _tightened(msgspec.json.decode(content[begin:], type=_LooseInstances), path)
    except msgspec.DecodeError as error:
        _tell_no_json(error, content, begin, path)
        raise


def _tell_no_json(error: msgspec.DecodeError, content: mmap.mmap, begin: int, path: Path) -> None:
    """Raise SourceError if the fault is NaN or Infinity, which Python writes and JSON does not have."""
    found = re.search(r"\(byte ([0-9]+)\)", str(error))
    if found is None:
        return
    place = int(found[1]) + begin
    # For -Infinity, the position is that of its second character.
    word = re.match(rb"NaN|-?Infinity", content[max(place - 1, 0) : place + 9].lstrip(b" :,[-"))
    if word:
        raise SourceError(
            f"{path}: byte {place}: {word[0].decode()} is not a number in JSON: write null"
        ) from None


def _checked(data: Instances, path: Path) -> Instances:
    areas = [item.area for item in data.annotations]
    if areas and min(areas) < 0:
        worst = data.annotations[areas.index(min(areas))]
        _bad_area(worst.id, worst.area, path)
    return data


def _tightened(data: _LooseInstances, path: Path) -> tuple[Instances, list[str]]:
    """Return a loosely written file as it is meant, and notes of where its areas were taken from."""
    annotations: list[Annotation] = []
    taken: Counter[str] = Counter()
    ids = _annotation_ids(data.annotations)
    for number, item in zip(ids, data.annotations, strict=True):
        area, came_from = _area(item, number, path)
        if came_from:
            taken[came_from] += 1
        annotations.append(Annotation(number, _id(item.image_id), _id(item.category_id), area))
    images = [Image(_id(item.id), item.file_name) for item in data.images]
    categories = [Category(_id(item.id), str(item.name)) for item in data.categories]
    return Instances(images, annotations, categories), _told(taken, len(annotations), path)


def _id(value: _AnyId) -> Any:
    """Return an id as a whole number if it is one (1, 1.0, "1"), else as text ("007")."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isdecimal() and value == str(int(value)):
        return int(value)
    return value


def _annotation_ids(annotations: Sequence[_LooseAnnotation]) -> list[Any]:
    """Return the annotations' ids; if one has none, their places in the file, from 1."""
    if any(item.id is None for item in annotations):
        return list(range(1, len(annotations) + 1))
    return [_id(item.id) for item in annotations if item.id is not None]


def _area(item: _LooseAnnotation, number: Id, path: Path) -> tuple[float, str]:
    """Return an annotation's area in pixels, and what it was taken from unless the file states it."""
    if item.area is None or item.area == "":
        return area_of(bytes(item.bbox), bytes(item.segmentation))
    try:
        area = float(item.area)
    except ValueError:
        area = math.nan
    if not math.isfinite(area) or area < 0:
        _bad_area(number, item.area, path)
    return area, ""


def _bad_area(number: Id, area: object, path: Path) -> None:
    raise SourceError(
        f"{path}: annotation {number!r}: its area is {area!r}: write the pixels it covers, or null"
    )


def _told(taken: Counter[str], total: int, path: Path) -> list[str]:
    if not taken:
        return []
    stated = f"{path}: {taken.total():,} of {total:,} annotations state no area"
    unknown = taken.pop(NOTHING, 0)
    told = [f"it is that of {what} ({count:,})" for what, count in taken.items()]
    told += [f"{unknown:,} have neither bbox nor segmentation"] if unknown else []
    return [f"{stated}: {', '.join(told)}"]
