"""Accuracy against guidance scale and against shots: a line for each method, dashed if it is published."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log2
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from synthkit_eval.comparison.plot_style import (
    GREY,
    INK,
    REAL_LOOK,
    WIDTH,
    Look,
    drawable,
    heading,
    look,
    new_figure,
    percent,
    within,
)
from synthkit_eval.comparison.short_names import own_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.published import PublishedTable
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import Score

_HEIGHT = 4.6
# Letters of a line in a legend, and its columns, if they fit.
_LEGEND = 48
_COLUMNS = (3, 2, 1)
# More lines than these cannot be told apart.
_MOST_LINES = 16
# Error bars at the same x are drawn beside each other: the step between them as a share of the axis, and the
# most that all may take as a share of the distance to the next x.
_ASIDE, _MOST_ASIDE = 0.008, 0.6
_DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
_IN_A_NAME = re.compile(r"(^|[-_])(shots?[-_ ]?\d+|\d+[-_]?shots?(?![-_ ]?\d))(?=[-_ ]|$)")
_SHOTS = re.compile(r"[-_]?(\d+[-_]?shots?|shots?[-_]?\d+).*$")


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line: points (x, accuracy in percent, both ends of its 95 % interval) in the order of x."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    look: Look = REAL_LOOK

    @property
    def is_line(self) -> bool:
        """Whether it has at least two different x."""
        return len({x for x, *_ in self.points}) > 1


def guidance_figures(sections: Sequence[Section]) -> Iterator[tuple[int, Figure]]:
    """Yield a plot for each section in which a method has at least two guidance scales."""
    for section in sections:
        curves = _by_method(section.rows)
        if any(curve.is_line for curve in curves):
            yield section.number, _guidance(section, curves)


def _guidance(section: Section, curves: Sequence[Curve]) -> Figure:
    figure, axes = _lines(curves, [*_printed_guidance(section)])
    for row in section.rows:
        if row.score.release is None:
            y, low, high = percent(row.accuracy.overall)
            axes.axhline(y, color=REAL_LOOK.colour, linewidth=1.2, label=drawable(row.name), zorder=1)
            axes.axhspan(low, high, color=REAL_LOOK.colour, alpha=0.15, linewidth=0, zorder=0)
    scales = sorted({x for curve in curves for x, *_ in curve.points})
    axes.set_xticks(scales, [f"{x:g}" for x in scales])
    return _finished(figure, axes, f"{heading(section.first)}: accuracy against guidance", "guidance scale")


def _by_method(rows: Iterable[Row]) -> list[Curve]:
    points: dict[str, list[tuple[float, float, float, float]]] = {}
    for row in rows:
        if row.score.release is not None:
            place = (row.score.release.guidance_scale, *percent(row.accuracy.overall))
            points.setdefault(row.score.release.method, []).append(place)
    return [Curve(name, tuple(sorted(found)), look(i)) for i, (name, found) in enumerate(points.items())]


def _printed_guidance(section: Section) -> Iterator[Curve]:
    points: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for item in section.published:
        if item.row.guidance_scale is not None:
            found = points.setdefault((item.row.name, item.table.place), [])
            found.append((item.row.guidance_scale, *within(item.row.overall, 0.0)))
    for (name, place), found in points.items():
        curve = Curve(f"{name}, published ({place})", tuple(sorted(found)))
        if curve.is_line:
            yield curve


def shots_figures(
    sections: Sequence[Section], tables: Sequence[PublishedTable]
) -> Iterator[tuple[int, Figure]]:
    """Yield a plot for each data set and protocol in which a method has at least two numbers of shots.

    A point is the mean over the trials that were scored; its bar is the 95 % interval over them, or over the
    seeds if there is one trial. Where more than _MOST_LINES would be in it, each generator has a plot.
    """
    families: dict[tuple[str, str], list[Section]] = {}
    for section in sections:
        data = _data_set(section, tables)
        if data is not None:
            families.setdefault((section.first.protocol.kin, data), []).append(section)
    number = 0
    for (_, data), members in families.items():
        for words, some in _readable(members):
            curves = _by_shots(some)
            if any(curve.is_line for curve in curves):
                number += 1
                yield number, _shots([data, *words], some, curves, tables)


def _readable(sections: Sequence[Section]) -> list[tuple[list[str], Sequence[Section]]]:
    """Return the sections of each plot and what its title says of them: all in one, if that can be read."""
    found = dict.fromkeys(_generator(row) for section in sections for row in section.rows)
    generators = [name for name in found if name is not None]
    if len(generators) == 1 or len(_by_shots(sections)) <= _MOST_LINES:
        return [([], sections)]
    return [([name], [*_of_generator(sections, name)]) for name in generators]


def _of_generator(sections: Sequence[Section], generator: str) -> Iterator[Section]:
    """Yield sections with the rows of one generator, and with those of real images alone."""
    for section in sections:
        rows = [row for row in section.rows if _generator(row) in (None, generator)]
        if any(row.score.release and row.score.release.shots for row in rows):
            yield replace(section, rows=tuple(rows))


def _generator(row: Row) -> str | None:
    return None if row.score.release is None else row.score.release.generator


def _shots(
    words: Sequence[str],
    sections: Sequence[Section],
    curves: Sequence[Curve],
    tables: Sequence[PublishedTable],
) -> Figure:
    scores = [score for section in sections for row in section.rows for score in row.scores]
    fitting = [table for table in tables if table.few_shot and any(table.fits(score) for score in scores)]
    printed = [curve for table in fitting for curve in _printed_shots(table)]
    figure, axes = _lines(curves, printed, scale="log")
    ticks = sorted({x for curve in (*curves, *printed) for x, *_ in curve.points})
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    protocol = sections[0].first.protocol.name
    title = ", ".join(dict.fromkeys(map(drawable, [protocol, *words]))) + ": accuracy against shots"
    return _finished(figure, axes, title, "real images a class")


def _data_set(section: Section, tables: Sequence[PublishedTable]) -> str | None:
    """Return the data set of a few-shot section, None if it is not few-shot.

    Its name is that of a published table, or what the release's name has before its shots.
    """
    for row in section.rows:
        release = row.score.release
        if release is not None and release.shots is not None:
            known = [table.data for table in tables if table.few_shot and table.names(row.score)]
            return known[0] if known else _SHOTS.sub("", release.name)
    return None


def _by_shots(sections: Sequence[Section]) -> list[Curve]:
    trials: dict[str, dict[int, list[Score]]] = {}
    real: set[str] = set()
    for section in sections:
        shots = next(r.score.release.shots for r in section.rows if r.score.release and r.score.release.shots)
        for row, name in zip(section.rows, _series(section.rows), strict=True):
            trials.setdefault(name, {}).setdefault(shots, []).extend(row.scores)
            if row.score.release is None:
                real.add(name)
    methods = [name for name in trials if name not in real]
    return [
        Curve(
            name,
            tuple((shots, *_over_trials(scores)) for shots, scores in sorted(by_shots.items())),
            REAL_LOOK if name in real else look(methods.index(name)),
        )
        for name, by_shots in trials.items()
    ]


def _series(rows: Sequence[Row]) -> list[str]:
    """Return the names of the lines that rows are points of: their methods, or more of their names."""
    count = Counter(row.label for row in rows)
    own = [_IN_A_NAME.sub("", name).strip("-_ ") for name in own_words(rows)]
    return [
        row.label if count[row.label] == 1 else name or row.label for row, name in zip(rows, own, strict=True)
    ]


def _over_trials(scores: Sequence[Score]) -> tuple[float, float, float]:
    """Return the mean over trials and both ends of its 95 % interval, in percent."""
    from scipy.stats import sem, t

    if len(scores) == 1:
        return percent(scores[0].accuracy.overall)
    means = [100 * score.accuracy.overall.mean for score in scores]
    return within(fmean(means), float(sem(means) * t.ppf(0.975, len(means) - 1)))


def _printed_shots(table: PublishedTable) -> Iterator[Curve]:
    names = dict.fromkeys(row.name for row in table.scores)
    for name in names:
        rows = [row for row in table.scores if row.name == name and row.shots is not None]
        yield Curve(
            f"{name}, published ({table.place})",
            tuple((float(row.shots or 0), *within(row.overall, 0.0)) for row in rows),
        )


def _lines(
    curves: Sequence[Curve], printed: Sequence[Curve], scale: Literal["linear", "log"] = "linear"
) -> tuple[Figure, Axes]:
    """Draw both kinds of lines; measured ones are moved aside, so that error bars do not hide each other."""
    figure = new_figure(WIDTH, _HEIGHT + 0.1 * (len(curves) + len(printed)))
    axes = figure.subplots()
    if scale == "log":
        axes.set_xscale("log", base=2)
    step = _step(curves, scale)
    for place, curve in enumerate(curves):
        aside = step * (place - (len(curves) - 1) / 2)
        _line(axes, curve, [x * 2**aside if scale == "log" else x + aside for x, *_ in curve.points])
    for place, curve in enumerate(printed):
        _dashed(axes, curve, place)
    return figure, axes


def _step(curves: Sequence[Curve], scale: Literal["linear", "log"]) -> float:
    """Return the distance of lines beside each other, on the axis or its logarithm (base 2)."""
    found = sorted({log2(x) if scale == "log" else x for curve in curves for x, *_ in curve.points})
    nearest = min(after - before for before, after in pairwise(found))
    return min(_ASIDE * (found[-1] - found[0]), _MOST_ASIDE * nearest / len(curves))


def _line(axes: Axes, curve: Curve, x: Sequence[float]) -> None:
    _, y, low, high = zip(*curve.points, strict=True)
    bars = [[a - b for a, b in zip(y, low, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
    axes.errorbar(
        x,
        y,
        yerr=bars if low != high else None,
        color=curve.look.colour,
        marker=curve.look.marker,
        markersize=5,
        linewidth=1.5,
        elinewidth=1,
        capsize=2,
        label=drawable(curve.name, _LEGEND),
    )


def _dashed(axes: Axes, curve: Curve, place: int) -> None:
    x, y = ([point[i] for point in curve.points] for i in range(2))
    colour, dashes = INK if place == 0 else GREY, _DASHES[place % len(_DASHES)]
    axes.plot(x, y, color=colour, linestyle=dashes, label=drawable(curve.name, _LEGEND), zorder=1)


def _finished(figure: Figure, axes: Axes, title: str, x: str) -> Figure:
    axes.grid()
    axes.set_xlabel(x)
    axes.set_ylabel("accuracy in %")
    axes.set_title(f"{title}; 95 % intervals")
    legend_below(figure, axes)
    _thin_out(figure, axes)
    return figure


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draw the legend below the plot, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    # matplotlib lists lines without error bars first; here measured lines come before published ones.
    order = sorted(range(len(labels)), key=lambda i: not hasattr(handles[i], "has_yerr"))
    for columns in _COLUMNS:
        legend = figure.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="outside lower center",
            ncols=columns,
        )
        figure.draw_without_rendering()
        if legend.get_window_extent().width <= figure.bbox.width or columns == _COLUMNS[-1]:
            return
        legend.remove()


def _thin_out(figure: Figure, axes: Axes) -> None:
    """Hide the numbers below the axis that would cover the one before."""
    figure.draw_without_rendering()
    end = float("-inf")
    for label in axes.get_xticklabels():
        box = label.get_window_extent()
        if box.x0 <= end:
            label.set_visible(False)
        else:
            end = box.x1
