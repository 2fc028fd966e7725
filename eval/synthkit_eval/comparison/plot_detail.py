"""What each class gained or lost, and accuracy after each epoch: figures of the pages of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit_eval.comparison.plot_curves import legend_below
from synthkit_eval.comparison.plot_style import (
    INK,
    REAL_LOOK,
    WIDTH,
    drawable,
    heading,
    look,
    new_figure,
)
from synthkit_eval.comparison.rows import BASELINE
from synthkit_eval.comparison.short_names import short_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import ClassScore

# More classes are lines: cells would have no names that can be read.
_CELLS = 30
_LETTERS_OF_CLASS = 18
_SEVERAL = 2


class Gains(NamedTuple):
    """How much more accurate rows are than a reference in each class, in points: `points` (R, C)."""

    reference: str
    names: Sequence[str]
    classes: Sequence[ClassScore]
    points: NDArray[np.float64]


def gains_of(section: Section) -> Gains | None:
    """Return what each class gained over real images alone or, without these, over random-image.

    None if there is no such row, or no other.
    """
    reference = _reference(section.rows)
    others = [row for row in section.rows if row is not reference]
    if reference is None or not others:
        return None
    points = np.stack([_of_classes(row) - _of_classes(reference) for row in others])
    classes = reference.files[0].detail.classes
    return Gains(reference.label, _names(section.rows, others), classes, points)


def classes_figures(sections: Sequence[Section]) -> Iterator[tuple[int, Figure]]:
    """Yield for each section a plot of what each class gained, if it has something to compare with."""
    for section in sections:
        gains = gains_of(section)
        if gains is not None:
            figure = _cells(gains) if len(gains.classes) <= _CELLS else _sorted(gains)
            over = drawable(gains.reference)
            title = f"{heading(section.first)}: points gained over {over}, class by class"
            figure.suptitle(title, fontsize=10)
            yield section.number, figure


def _reference(rows: Sequence[Row]) -> Row | None:
    real = next((row for row in rows if row.score.release is None), None)
    return real or next((row for row in rows if row.label == BASELINE), None)


def _of_classes(row: Row) -> NDArray[np.float64]:
    """Return the accuracy of each class in percent, the mean over the row's scores: (C,)."""
    found = [[item.accuracy.mean for item in file.detail.classes] for file in row.files]
    return np.asarray(100 * np.mean(found, axis=0))


def _names(rows: Sequence[Row], some: Sequence[Row]) -> list[str]:
    named = zip(rows, short_names(rows), strict=True)
    return [drawable(name) for row, name in named if any(row is one for one in some)]


def _cells(gains: Gains) -> Figure:
    """Draw a cell for each row and class, with the points gained in it."""
    figure = new_figure(WIDTH, 1.9 + 0.3 * len(gains.names))
    axes = figure.subplots()
    most = max(float(np.abs(gains.points).max()), 1.0)
    axes.imshow(gains.points, cmap="PuOr", vmin=-most, vmax=most, aspect="auto")
    axes.set_yticks(range(len(gains.names)), list(gains.names))
    told = [f"{drawable(item.name, _LETTERS_OF_CLASS)} ({item.real:,})" for item in gains.classes]
    axes.set_xticks(range(len(told)), told, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    for place, value in np.ndenumerate(gains.points):
        shade = INK if abs(value) < 0.6 * most else "white"
        axes.text(
            place[1],
            place[0],
            f"{round(value):+d}" if round(value) else "0",
            ha="center",
            va="center",
            color=shade,
            fontsize=8,
        )
    axes.set_xlabel("class (its real images)")
    return figure


def _sorted(gains: Gains) -> Figure:
    """Draw the classes of each row from the one that lost most to the one that gained most."""
    figure = new_figure(WIDTH, 4.8 + 0.08 * len(gains.names))
    axes = figure.subplots()
    for number, (row, name) in enumerate(zip(gains.points, gains.names, strict=True)):
        better = int((row > 0).sum())
        axes.plot(np.sort(row), color=look(number).colour, label=f"{name}: {better:,} of {row.size:,} gained")
    axes.axhline(0, color=REAL_LOOK.colour, linewidth=1)
    axes.grid()
    axes.set_xlabel("classes, each row in its own order")
    axes.set_ylabel("points")
    legend_below(figure, axes)
    return figure


def epochs_figures(sections: Sequence[Section]) -> Iterator[tuple[int, Figure]]:
    """Yield for each section a plot of accuracy after each epoch, the mean over all runs of a row."""
    for section in sections:
        curves = curves_of(section)
        if max(map(len, curves)) < _SEVERAL:
            continue
        figure = new_figure(WIDTH, 4.8 + 0.08 * len(curves))
        axes = figure.subplots()
        _draw_curves(axes, section.rows, curves)
        axes.set_title(f"{heading(section.first)}: accuracy after each epoch, mean over runs")
        legend_below(figure, axes)
        yield section.number, figure


def curves_of(section: Section) -> list[NDArray[np.float64]]:
    """Return the accuracy in percent of each row after each epoch, the mean over its runs."""
    return [_curve(row) for row in section.rows]


def _curve(row: Row) -> NDArray[np.float64]:
    """Return the accuracy in percent of each epoch that all runs have, the mean over them: (E,)."""
    runs = [[epoch.overall for epoch in history] for file in row.files for history in file.detail.histories]
    shortest = min(map(len, runs))
    return np.asarray(100 * np.mean([run[:shortest] for run in runs], axis=0))


def _draw_curves(axes: Axes, rows: Sequence[Row], curves: Sequence[NDArray[np.float64]]) -> None:
    number = 0
    for row, name, curve in zip(rows, _names(rows, rows), curves, strict=True):
        style = REAL_LOOK if row.score.release is None else look(number)
        number += row.score.release is not None
        axes.plot(
            range(1, len(curve) + 1),
            curve,
            color=style.colour,
            marker=style.marker,
            markersize=4,
            linewidth=1.4,
            label=name,
        )
    axes.grid()
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy in %")
