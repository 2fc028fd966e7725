"""Names beside points, none over another: each takes the nearest free place around its point.

Boxes are arrays (…, 4) of left, bottom, right, top in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit_eval.plot_style import GREY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]

_FONT = 8.5
# Points of 1/72 inch: how far a label may lie, and from where on a line leads back to its point.
_RADII = (7, 14, 22, 32, 44, 58, 74, 92, 112)
_LINE_FROM = 20
_ANGLES = (0, 180, 45, 315, 135, 225, 90, 270)
_OFFSETS = tuple(
    (radius * math.cos(math.radians(angle)), radius * math.sin(math.radians(angle)), radius)
    for radius in _RADII
    for angle in _ANGLES
)
# Along a line, from where it has left its point to where it reaches the label.
_STEPS = np.linspace(0.3, 0.9, 7)


@dataclass(frozen=True, slots=True)
class Point:
    """A point in data units, half of its error bar, and its name."""

    x: float
    y: float
    spread: float
    label: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point on the page: its centre, its box with its error bar (4,), and what its label may be.

    `labels` (P, 4) and `lines` (P, 7, 4) are boxes for each of `_OFFSETS`; of lines that are not drawn NaN.
    """

    x: float
    y: float
    box: Boxes
    labels: Boxes
    lines: Boxes


def place_labels(figure: Figure, axes: Axes, points: Sequence[Point]) -> Boxes:
    """Write each point's name where it covers nothing; returns their boxes (N, 4).

    One after the other they take their best free places; of several orders the best for all of them counts.
    """
    figure.draw_without_rendering()
    frame = np.array(axes.get_window_extent().extents)
    marks = [_mark(axes, point, figure.dpi / 72) for point in points]
    _, places = min(_layout(order, marks, frame) for order in _orders(marks))
    for point, place in zip(points, places, strict=True):
        _write(axes, point, place)
    return np.array([mark.labels[place] for mark, place in zip(marks, places, strict=True)])


def _orders(marks: Sequence[_Mark]) -> Iterator[list[int]]:
    """From above, from the left, and from two corners; and each the other way round."""
    for right, up in ((0, 1), (1, 0), (1, 1), (1, -1)):
        keys = [(right * mark.x + up * mark.y, mark.x) for mark in marks]
        order = sorted(range(len(marks)), key=keys.__getitem__)
        yield order
        yield order[::-1]


def _layout(order: Sequence[int], marks: Sequence[_Mark], frame: Boxes) -> tuple[float, list[int]]:
    """What is wrong with the places that are taken in this order, and the place of each mark's label."""
    boxes = np.array([mark.box for mark in marks])
    taken, total, places = boxes, 0.0, [0] * len(marks)
    for number in order:
        mark = marks[number]
        costs = _costs(mark, taken, frame) + _mistakable(mark, boxes)
        places[number] = best = int(np.argmin(costs))
        taken = np.concatenate([taken, mark.labels[best : best + 1], mark.lines[best]])
        total += float(costs[best])
    return total, places


def _costs(mark: _Mark, taken: Boxes, frame: Boxes) -> Boxes:
    """Of each place: pixels that cover others weigh far more than the distance from the point."""
    labels = mark.labels
    outside = (labels[:, 2] - labels[:, 0]) * (labels[:, 3] - labels[:, 1]) - _covered(labels, frame[None])
    crossed = _covered(mark.lines, taken).sum(axis=1)
    distance = np.array([radius for _, _, radius in _OFFSETS])
    costs: Boxes = 20 * (_covered(labels, taken) + outside + crossed) + 4 * distance
    # Equally good places must not be told apart by what is lost in the last digits.
    return costs.round(6)


def _mistakable(mark: _Mark, boxes: Boxes) -> Boxes:
    """What it costs a label without a line to be nearer to another point than to its own."""
    nearest = _gaps(mark.labels, boxes).min(axis=1)
    mistaken = np.isnan(mark.lines[:, 0, 0]) & (nearest < _gaps(mark.labels, mark.box[None])[:, 0])
    return np.where(mistaken, 600.0, 0.0)


def _covered(boxes: Boxes, others: Boxes) -> Boxes:
    """Of each of the boxes (…, 4) the area that the others (N, 4) cover, (…)."""
    sizes = np.minimum(boxes[..., None, 2:], others[:, 2:]) - np.maximum(boxes[..., None, :2], others[:, :2])
    covered: Boxes = np.nansum(sizes.clip(0).prod(axis=-1), axis=-1)
    return covered


def _gaps(boxes: Boxes, others: Boxes) -> Boxes:
    """Of each of the boxes (P, 4) the distance to each of the others (N, 4), (P, N)."""
    gaps = np.maximum(boxes[:, None, :2], others[:, :2]) - np.minimum(boxes[:, None, 2:], others[:, 2:])
    distances: Boxes = np.hypot(*np.moveaxis(gaps.clip(0), -1, 0))
    return distances


def _mark(axes: Axes, point: Point, unit: float) -> _Mark:
    ends = [(point.x, point.y + spread) for spread in (-point.spread, 0.0, point.spread)]
    (_, low), (x, y), (_, high) = axes.transData.transform(ends)
    edge = 4 * unit
    box = np.array([x - edge, min(low, y - edge), x + edge, max(high, y + edge)])
    width, height = _size(axes, point.label)
    labels, lines = [], []
    for dx, dy, radius in _OFFSETS:
        left, bottom = x + dx * unit - width * (1 - _side(dx)), y + dy * unit - height / 2
        labels.append([left, bottom, left + width, bottom + height])
        steps = np.stack([x + _STEPS * dx * unit, y + _STEPS * dy * unit], axis=1)
        line = np.concatenate([steps - 2, steps + 2], axis=1)
        lines.append(line if radius > _LINE_FROM else np.full_like(line, np.nan))
    return _Mark(float(x), float(y), box, np.array(labels), np.array(lines))


def _side(dx: float) -> float:
    """1 of a label to the right of its point, 0 to the left, else 1/2."""
    return 0.5 if abs(dx) < 1 else float(dx > 0)


def _size(axes: Axes, label: str) -> tuple[float, float]:
    """Width and height in pixels, with a little air."""
    text = axes.text(0, 0, label, fontsize=_FONT)
    box = text.get_window_extent()
    text.remove()
    return box.width + 4, box.height + 2


def _write(axes: Axes, point: Point, place: int) -> None:
    dx, dy, radius = _OFFSETS[place]
    side = _side(dx)
    start = (1 - side, 0.5 if side != 0.5 else float(dy < 0))
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 3, "relpos": start}
    axes.annotate(
        point.label,
        (point.x, point.y),
        xytext=(dx, dy),
        textcoords="offset points",
        ha={1.0: "left", 0.5: "center", 0.0: "right"}[side],
        va="center",
        fontsize=_FONT,
        arrowprops=line if radius > _LINE_FROM else None,
    )
