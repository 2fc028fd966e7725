"""Write names beside points so that they cover no point, no error bar and no other name.

Where the names do not fit, points get numbers, and a list beside the plot says what they mean. Everything is
measured in pixels of the figure after its layout; the same points make the same picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit_eval.comparison.plot_style import BASELINE, GREY, INK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from numpy.typing import NDArray

# In typographic points, as matplotlib has them.
_SIZE = 8.5
_MARKER, _BAR = 6.0, 2.5  # edge of a marker; half the width of a bar with its caps
_NEAR, _FAR, _STEP = 3.0, 80.0, 2.0  # from a marker to its name; beyond _FAR readers do not connect them
_TIED, _GAP = 6.0, 1.5  # at a larger distance a line leads to the name; its gap before the name
_CLEAR = 1.0  # around a name
_TURNS = 36  # directions in which a name may stand

Box = tuple[float, float, float, float]  # left, bottom, right, top


class Point(NamedTuple):
    """A point and the ends of its error bar in data coordinates, its name, and its colour."""

    x: float
    y: float
    low: float
    high: float
    name: str
    colour: str


class _Place(NamedTuple):
    """Where a name stands, and the ends of the line that connects it with its point."""

    box: Box
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length(self) -> float:
        return math.dist(self.start, self.end)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is drawn before the names, in pixels; `unit` is a typographic point.

    No line may cross the boxes in `walls`.
    """

    unit: float
    frame: Box
    centres: list[tuple[float, float]]
    markers: list[Box]
    bars: list[Box]
    walls: list[Box]

    def barriers(self, number: int) -> list[Box]:
        """Return the walls that the line of a name may not cross: all that its own point does not touch."""
        x, y = self.centres[number]
        half = _MARKER / 2 * self.unit
        return [
            (left, bottom, right, top)
            for left, bottom, right, top in self.walls
            if x + half < left or x - half > right or y + half < bottom or y - half > top
        ]

    def crowd(self, number: int) -> int:
        """Return how many points are within reach of a name."""
        mine = self.centres[number]
        return sum(math.dist(centre, mine) < _FAR * self.unit for centre in self.centres)


def draw_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Draw points with their error bars and names; nothing may be drawn into the axes afterwards."""
    for point in points:
        ends = [[point.y - point.low], [point.high - point.y]]
        axes.errorbar(
            point.x,
            point.y,
            yerr=ends if point.low < point.high else None,
            fmt="o",
            color=point.colour,
            markersize=_MARKER,
            ecolor=GREY,
            elinewidth=1,
            capsize=2,
            # Where points lie on each other, the baseline is the one to be seen.
            zorder=3 if point.colour == BASELINE else 2,
        )
    axes.margins(0.12, 0.1)
    figure.draw_without_rendering()
    axes.autoscale(False)
    unit = figure.dpi / 72
    if not _write(axes, _scene(axes, unit, points), [point.name for point in points], _FAR):
        _list_beside(figure, points)
        figure.draw_without_rendering()
        scene, numbers = _gathered(_scene(axes, unit, points))
        # In a crowd, a line may have to cross other points.
        if not _write(axes, scene, numbers, math.inf):
            _write(axes, replace(scene, walls=[]), numbers, math.inf)


def _list_beside(figure: Figure, points: Sequence[Point]) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        [Line2D([], [], linestyle="", marker="o", markersize=_MARKER, color=p.colour) for p in points],
        [f"{number + 1}  {point.name}" for number, point in enumerate(points)],
        loc="outside right upper",
        fontsize=_SIZE,
        handletextpad=0.1,
    )


def _write(axes: Axes, scene: _Scene, words: Sequence[str], far: float) -> bool:
    """Write a word beside each point and return True.

    If one of them finds no place within `far`, none is written, and False is returned.
    """
    texts = [axes.text(0, 0, word, fontsize=_SIZE, color=INK, va="bottom") for word in words]
    places = _best(scene, texts, far)
    if places is None:
        for text in texts:
            text.remove()
        return False
    inverted = axes.transData.inverted()
    for text, place in zip(texts, places, strict=True):
        x, y = inverted.transform(place.box[:2]).tolist()
        text.set_position((x, y))
        if place.length > _TIED * scene.unit:
            start, end = np.array(place.start), np.array(place.end)
            short = end - (end - start) * _GAP * scene.unit / place.length
            xs, ys = inverted.transform([start, short]).T
            axes.plot(xs, ys, color=GREY, linewidth=0.6, zorder=1)
    return True


def _scene(axes: Axes, unit: float, points: Sequence[Point]) -> _Scene:
    frame = axes.get_window_extent()
    middles = axes.transData.transform([(p.x, p.y) for p in points]).tolist()
    lows = axes.transData.transform([(p.x, p.low) for p in points])[:, 1].tolist()
    highs = axes.transData.transform([(p.x, p.high) for p in points])[:, 1].tolist()
    edge, cap = _MARKER / 2 * unit, _BAR * unit
    markers = [(x - edge, y - edge, x + edge, y + edge) for x, y in middles]
    ends = zip(middles, lows, highs, strict=True)
    return _Scene(
        unit,
        (frame.x0, frame.y0, frame.x1, frame.y1),
        centres=[(x, y) for x, y in middles],
        markers=markers,
        bars=[(x - cap, low, x + cap, high) for (x, _), low, high in ends if low < high],
        walls=markers,
    )


def _gathered(scene: _Scene) -> tuple[_Scene, list[str]]:
    """Return the scene and the texts for numbers; points that lie on each other share a text."""
    groups: list[list[int]] = []
    for number, centre in enumerate(scene.centres):
        near = (g for g in groups if math.dist(scene.centres[g[0]], centre) < _MARKER / 2 * scene.unit)
        group = next(near, None)
        if group is None:
            groups.append([number])
        else:
            group.append(number)
    return replace(scene, centres=[scene.centres[group[0]] for group in groups]), list(map(_numbers, groups))


def _numbers(group: Sequence[int]) -> str:
    """Return the numbers of points as pages are listed: "1, 4–7, 9"; the first point has number 1."""
    runs: list[list[int]] = []
    for number in group:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0] + 1}–{run[-1] + 1}" if len(run) > 1 else str(run[0] + 1) for run in runs)


def _best(scene: _Scene, texts: Sequence[Text], far: float) -> list[_Place] | None:
    """Try a few orders of placing names, and return the places with the shortest lines; None if none fits."""
    sizes = [(box.width, box.height) for box in (text.get_window_extent() for text in texts)]
    numbers = range(len(texts))
    orders = [
        sorted(numbers, key=lambda i: -scene.crowd(i)),
        sorted(numbers, key=lambda i: -scene.centres[i][0]),
        sorted(numbers, key=lambda i: scene.centres[i][1]),
        sorted(numbers, key=lambda i: -scene.centres[i][1]),
    ]
    found = [places for order in orders if (places := _places(scene, sizes, order, far)) is not None]
    return min(found, key=lambda places: sum(place.length for place in places), default=None)


def _places(
    scene: _Scene, sizes: Sequence[tuple[float, float]], order: Sequence[int], far: float
) -> list[_Place] | None:
    """Return a place for each name, found one by one in an order; None if there is none for one."""
    placed: dict[int, _Place] = {}
    for number in order:
        taken = [place.box for place in placed.values()]
        lines = [(place.start, place.end) for place in placed.values()]
        barriers = np.array([*scene.barriers(number), *taken]).reshape(-1, 4)
        for place in _free(scene, number, sizes[number], taken, far):
            box = np.array([place.box])
            if not _hits(place.start, place.end, barriers) and not any(_hits(*line, box) for line in lines):
                placed[number] = place
                break
        else:
            return None
    return [placed[number] for number in range(len(sizes))]


def _free(
    scene: _Scene, number: int, size: tuple[float, float], taken: Sequence[Box], far: float
) -> Iterator[_Place]:
    """Yield free places around a point, the nearest first; of equally near ones the one to the right."""
    (left, bottom, right, top), edge = scene.frame, _MARKER / 2 * scene.unit
    least, most = np.array([left, bottom]), np.array([right, top])
    obstacles = np.array([*scene.markers, *scene.bars, *taken])
    angles = 2 * np.pi * np.array(sorted(range(_TURNS), key=lambda turn: min(turn, _TURNS - turn))) / _TURNS
    ways = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), 6)
    # A line ends at the corner of the name, or the middle of its edge, that faces the point.
    shift = (np.sign(ways) - 1) / 2 * size
    starts = scene.centres[number] + edge * ways
    reach = min(far * scene.unit, math.dist(least, most))
    for distance in np.arange(_NEAR * scene.unit, reach, _STEP * scene.unit):
        ends = starts + distance * ways
        low, high = ends + shift, ends + shift + size
        inside = np.all((low >= least) & (high <= most), axis=1)
        clear = _CLEAR * scene.unit
        beside = (high[:, None] + clear <= obstacles[:, :2]) | (low[:, None] - clear >= obstacles[:, 2:])
        for i in np.flatnonzero(inside & np.all(np.any(beside, axis=-1), axis=1)):
            box = (low[i, 0], low[i, 1], high[i, 0], high[i, 1])
            yield _Place(box, (starts[i, 0], starts[i, 1]), (ends[i, 0], ends[i, 1]))


def _hits(start: Sequence[float], end: Sequence[float], boxes: NDArray[np.float64]) -> bool:
    """Return whether a line goes through one of some boxes (n, 4)."""
    origin, way = np.array(start), np.array(end) - np.array(start)
    # A line is in a box where it is between left and right and between bottom and top at once. One along an
    # axis divides by 0: it is between two of the edges everywhere, or nowhere.
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = (boxes[:, :2] - origin) / way, (boxes[:, 2:] - origin) / way
    enters, leaves = np.fmin(first, last).max(axis=1), np.fmax(first, last).min(axis=1)
    return bool(((enters < leaves) & (enters < 1) & (leaves > 0)).any())
