"""How many pixels an annotation covers, where its file does not say: from its box or its outline.

Source of the run lengths' coding: pycocotools, common/maskApi.c, rleFrString.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

NOTHING = "nothing"


def area_of(bbox: bytes, segmentation: bytes) -> tuple[float, str]:
    """The area in pixels and what it was taken from: the bbox, else the outline; infinite from NOTHING."""
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
    """Of polygons, or of a mask in run lengths."""
    if isinstance(outline, dict):
        counts = outline["counts"]
        runs = _runs(counts) if isinstance(counts, str) else [int(count) for count in counts]
        # Background and object take turns.
        return float(sum(runs[1::2]))
    if not outline:
        raise ValueError("is empty")
    polygons = outline if isinstance(outline[0], list) else [outline]
    return sum(_of_polygon([float(number) for number in polygon]) for polygon in polygons)


def _of_polygon(flat: list[float]) -> float:
    """By the shoelace formula, of x1, y1, x2, y2 …"""
    corners = list(zip(flat[::2], flat[1::2], strict=True))
    turned = [*corners[1:], corners[0]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, turned, strict=True))) / 2


def _runs(text: str) -> list[int]:
    """The run lengths in COCO's compressed text: 5 bits a character, from the third on as differences."""
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
