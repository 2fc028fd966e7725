"""The area of an annotation in pixels, from its box or its outline, where its file does not state it.

Source of the run-length code: pycocotools, common/maskApi.c, rleFrString.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

NOTHING = "nothing"


def area_of(bbox: bytes, segmentation: bytes) -> tuple[float, str]:
    """Return the area in pixels and what it was taken from: the bbox, else the outline.

    Both are JSON. If neither gives an area, it is infinite and taken from NOTHING.
    """
    ways = (("the bbox", bbox, _of_box), ("the segmentation", segmentation, _of_outline))
    for what, raw, way in ways:
        try:
            area = way(msgspec.json.decode(raw))
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):
            continue
        if math.isfinite(area) and area >= 0:
            return area, what
    return math.inf, NOTHING


def _of_box(box: list[Any]) -> float:
    _, _, width, height = (float(number) for number in box)
    return width * height if min(width, height) >= 0 else math.nan


def _of_outline(outline: Any) -> float:
    """Return the area of polygons, or of a mask in run lengths."""
    if isinstance(outline, dict):
        counts = outline["counts"]
        runs = _runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
        # Runs of background and of the object alternate, the background first.
        return float(sum(runs[1::2]))
    if not outline:
        raise ValueError("is empty")
    polygons = outline if isinstance(outline[0], list) else [outline]
    return sum(_of_polygon([float(number) for number in polygon]) for polygon in polygons)


def _of_polygon(flat: list[float]) -> float:
    """Return the area of a polygon x1, y1, x2, y2 … by the shoelace formula."""
    corners = list(zip(flat[::2], flat[1::2], strict=True))
    turned = [*corners[1:], corners[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, turned, strict=True))) / 2


def _runs(text: str) -> list[int]:
    """Return the run lengths in COCO's compressed text.

    Each character holds 5 bits. From the fourth run on, a number is the difference to the run before last.
    """
    runs: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            bits = ord(text[place]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            place, shift = place + 1, shift + 5
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs
