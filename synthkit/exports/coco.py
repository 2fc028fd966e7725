"""COCO's JSON: each image has one annotation, whose box and outline are the whole image.

    annotations.json
    images/000000017.png

COCO has no field for the class of a whole image. What its readers understand is an object as large as the
image, of that category. Categories count from 1, since 0 is the background to many of them: `category_id`
is the label plus 1, and `provenance` of an image is its record, with the label itself.

Source: cocodataset.org, Data format, 1 and 2 (object detection).
"""

from __future__ import annotations

import json
from array import array
from typing import IO, TYPE_CHECKING, Any

from synthkit.release.licenses import license_url

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from synthkit.release.image import StoredImage
    from synthkit.release.manifest import Manifest

_IMAGES = "images"


class Coco:
    """Writes images and, one entry after the other, annotations.json; a Writer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._images = folder / _IMAGES
        self._images.mkdir()
        self._size = (manifest.width, manifest.height)
        self._labels = array("i")
        self._json = (folder / "annotations.json").open("w", encoding="utf-8")
        license_ = {"id": 1, "name": manifest.license, "url": _address(manifest.license)}
        categories = [_category(item.label, item.name, item.group) for item in manifest.classes]
        self._json.write(f'{{"info": {_written(_info(manifest))},\n"licenses": [{_written(license_)}],\n')
        self._json.write(f'"categories": {_written(categories)},\n"images": [')

    def add(self, stored: StoredImage) -> None:
        """Write an image and its entry."""
        name = f"{stored.record.key}.{stored.extension}"
        (self._images / name).write_bytes(stored.image)
        self._labels.append(stored.record.label)
        width, height = self._size
        entry = {
            "id": len(self._labels),
            "file_name": f"{_IMAGES}/{name}",
            "width": width,
            "height": height,
            "license": 1,
            "provenance": stored.record.to_row(),
        }
        _write_entry(self._json, entry, first=len(self._labels) == 1)

    def close(self) -> None:
        """Write the annotations, which follow from the labels."""
        self._json.write('],\n"annotations": [')
        for number, label in enumerate(self._labels, 1):
            _write_entry(self._json, _annotation(number, label, self._size), first=number == 1)
        self._json.write("]}\n")
        self._json.close()

    def abandon(self) -> None:
        """Close annotations.json."""
        self._json.close()


def _info(manifest: Manifest) -> dict[str, Any]:
    return {
        "description": f"{manifest.name} {manifest.version}: {manifest.images} {manifest.what} images",
        "version": manifest.version,
        "contributor": "synthkit",
        "seal": manifest.seal,
    }


def _address(license_name: str) -> str:
    found = license_url(license_name)
    return found if found.startswith("https://") else ""


def _category(label: int, name: str, group: str) -> dict[str, Any]:
    return {"id": label + 1, "name": name, "supercategory": group}


def _annotation(number: int, label: int, size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    return {
        "id": number,
        "image_id": number,
        "category_id": label + 1,
        "bbox": [0, 0, width, height],
        "area": width * height,
        "segmentation": [[0, 0, width, 0, width, height, 0, height]],
        "iscrowd": 0,
    }


def _write_entry(stream: IO[str], entry: dict[str, Any], *, first: bool) -> None:
    comma = "" if first else ","
    stream.write(f"{comma}\n{_written(entry)}")


def _written(value: dict[str, Any] | Iterable[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
