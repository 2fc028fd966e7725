"""Plots of a comparison, as PNG and SVG; the same scores make the same bytes.

* groups: the accuracy of each score in each group of classes
* differences: the paired differences with their intervals, those fixed beforehand first
* fid, diversity: accuracy against FID, and against the Vendi score
* cost, cost-diversity: accuracy and the Vendi score against the operations that sampling took
* guidance: accuracy against the guidance scale, as in Table 3 of Chen et al. 2025
* shots: accuracy against the number of shots, as in its Figure 5
"""

from __future__ import annotations

import io
from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING, Literal, NamedTuple

from synthkit.system.files import make_folder, write_file
from synthkit_eval.comparison.plot_curves import guidance_figures, shots_figures
from synthkit_eval.comparison.plot_differences import difference_figures
from synthkit_eval.comparison.plot_labels import Point, draw_points
from synthkit_eval.comparison.plot_style import (
    BASELINE,
    INK,
    OTHER,
    REAL,
    REAL_LOOK,
    WIDTH,
    drawable,
    heading,
    new_figure,
    percent,
    styled,
)
from synthkit_eval.comparison.rows import told_parts
from synthkit_eval.comparison.short_names import own_words, short_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.published import PublishedTable
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import Accuracy

_NUMBER_SIZE = 8.5
_SPACE = 40
# Rows of different cost differ in several fields of the sampler, all of them in their names.
_LETTERS_OF_WAYS = 46
_NEEDS = {
    "groups": "two scores that compare",
    "differences": "two scores with a difference between them",
    "fid": "two scores that compare, with FIDs in one feature space",
    "diversity": "two scores that compare, with Vendi scores in one feature space",
    "cost": "two scores that compare and took different numbers of operations",
    "cost-diversity": "the same, with Vendi scores in one feature space",
    "guidance": "a method at two guidance scales",
    "shots": "a method with two numbers of shots",
}
_SEVERAL = 2


class Metric(NamedTuple):
    """A set metric on the horizontal axis: its key in a score, its name, and how it reads."""

    key: str
    name: str
    reads: str


FID = Metric("fid", "FID", "lower is nearer to the real images")
VENDI = Metric("vendi", "Vendi score", "higher is more diverse")


class Drawn(NamedTuple):
    """The names of the plots, each a PNG and an SVG file, and a line for each one that was not drawn."""

    names: list[str]
    left_out: list[str]


def draw_plots(sections: Sequence[Section], tables: Sequence[PublishedTable], folder: Path) -> Drawn:
    """Draw all plots that have enough scores, as NAME.png and NAME.svg in a folder, which is made.

    If there are several sections, each has its own plots: NAME-1 and so on.
    """
    make_folder(folder)
    drawn = Drawn([], [])
    with styled():
        for kind, figures in figures_of(sections, tables).items():
            made = dict(figures)
            if not made:
                drawn.left_out.append(f"{kind}: not drawn: it takes {_NEEDS[kind]}")
            for number, figure in made.items():
                several = len(made) > 1 or (kind != "shots" and len(sections) > 1)
                name = f"{kind}-{number}" if several else kind
                _save(figure, folder, name)
                drawn.names.append(name)
    return drawn


def figures_of(
    sections: Sequence[Section], tables: Sequence[PublishedTable]
) -> dict[str, Iterator[tuple[int, Figure]]]:
    """Return for each kind of plot the figures there are, with the numbers of their sections.

    Those of shots, which join sections, have numbers of their own. To be drawn within `styled`.
    """
    return {
        "groups": groups_figures(sections),
        "differences": difference_figures(sections),
        "fid": set_figures(sections, FID),
        "diversity": set_figures(sections, VENDI),
        "cost": cost_figures(sections),
        "cost-diversity": cost_figures(sections, VENDI),
        "guidance": guidance_figures(sections),
        "shots": shots_figures(sections, tables),
    }


def _save(figure: Figure, folder: Path, name: str) -> None:
    # The layout is computed once, for both files.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for suffix in ("png", "svg"):
        write_file(folder / f"{name}.{suffix}", as_image(figure, suffix))


def as_image(figure: Figure, suffix: Literal["png", "svg"]) -> bytes:
    """Return a figure as the bytes of an image file: the same ones for the same figure."""
    # Otherwise matplotlib writes the time and its version into the files.
    metadata = {"Software": None} if suffix == "png" else {"Date": None, "Creator": None}
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix, metadata=metadata)
    return stream.getvalue()


def groups_figures(sections: Sequence[Section]) -> Iterator[tuple[int, Figure]]:
    """Yield a plot of bars for each section with two scores: panels for overall, many, medium and few."""
    for section in sections:
        if len(section.rows) >= _SEVERAL:
            yield section.number, _groups(section)


def _groups(section: Section) -> Figure:
    parts = told_parts(section.rows)
    figure = new_figure(WIDTH, 1.15 + 0.3 * len(section.rows))
    panels = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
    start, stop = _span(section.rows, parts)
    for panel, part in zip(panels, parts, strict=True):
        _bars(panel, section.rows, part, start)
        panel.set_title(part)
        panel.set_xlim(start, stop)
        panel.grid(axis="x")
        panel.locator_params(axis="x", nbins=5)
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(start == 0)
    panels[0].set_yticks(range(len(section.rows)), _names(section.rows))
    panels[0].set_ylim(len(section.rows) - 0.4, -0.6)
    cut = "" if start == 0 else f", axis from {start:g}"
    figure.supxlabel(f"{heading(section.first)}: accuracy in %{cut}; 95 % interval over runs", fontsize=10)
    return figure


def _bars(panel: Axes, rows: Sequence[Row], part: str, start: float) -> None:
    for place, row in enumerate(rows):
        accuracy: Accuracy | None = getattr(row.accuracy, part)
        if accuracy is None:
            continue
        mean, low, high = percent(accuracy)
        panel.barh(place, mean - start, left=start, height=0.74, color=_colour(row))
        if low < high:
            ends = [[mean - low], [high - mean]]
            panel.errorbar(mean, place, xerr=ends, color=INK, capsize=2, elinewidth=1)
        # Beside the panel, where no error bar reaches.
        panel.annotate(
            f"{mean:.1f}",
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=_NUMBER_SIZE,
            annotation_clip=False,
        )


def _span(rows: Sequence[Row], parts: Sequence[str]) -> tuple[float, float]:
    """Return where the axis starts and ends: at 0, or so that differences of high accuracies can be seen."""
    found = [getattr(row.accuracy, part) for row in rows for part in parts]
    ends = [percent(accuracy) for accuracy in found if accuracy is not None]
    low, high = min(low for _, low, _ in ends), max(high for _, _, high in ends)
    start = float(int(low - max(0.5 * (high - low), 3.0)))
    start = start if start > 20 else 0.0
    return start, high + 0.03 * (high - start)


def set_figures(sections: Sequence[Section], metric: Metric) -> Iterator[tuple[int, Figure]]:
    """Yield for each section a plot with a labelled point for each row that has the set metric.

    The numbers are those of the feature space that most rows have.
    """
    for section in sections:
        measured = [row for row in section.rows if _value(row, metric) is not None]
        spaces = Counter(_space(row) for row in measured)
        if spaces and max(spaces.values()) >= _SEVERAL:
            space = spaces.most_common(1)[0][0]
            yield section.number, _points([row for row in measured if _space(row) == space], metric, space)


def cost_figures(sections: Sequence[Section], metric: Metric | None = None) -> Iterator[tuple[int, Figure]]:
    """Yield for each section a plot of accuracy, or of a set metric, against what sampling took.

    A section has one if two of its rows state different numbers of operations.
    """
    for section in sections:
        rows = [row for row in section.rows if row.operations]
        free = [row for row in section.rows if _is_free(row)] if metric is None else []
        if metric is not None:
            spaces = Counter(_space(row) for row in rows if _value(row, metric) is not None)
            space = next((space for space, _ in spaces.most_common(1)), None)
            rows = [row for row in rows if _space(row) == space and _value(row, metric) is not None]
        if len({row.operations for row in rows}) >= _SEVERAL:
            yield section.number, _against_cost(rows, free, metric)


def _against_cost(rows: Sequence[Row], free: Sequence[Row], metric: Metric | None) -> Figure:
    figure = _figure_of(rows)
    axes = figure.subplots()
    axes.grid()
    _logarithmic(axes)
    learned = any(row.score.release and row.score.release.learning for row in rows)
    counted = "all draws and learned tokens counted" if learned else "all draws counted"
    axes.set_xlabel(f"TFLOP of sampling all synthetic images, {counted} (logarithmic)")
    title = heading(rows[0].score)
    if metric is None:
        axes.set_ylabel("accuracy in %, 95 % interval over runs")
        axes.set_title(f"{title}: accuracy against cost")
        values = [percent(row.accuracy.overall) for row in rows]
    else:
        space = drawable(_space(rows[0]), _SPACE)
        axes.set_ylabel(f"{metric.name} in the feature space {space}")
        axes.set_title(f"{title}: {metric.name} against cost ({metric.reads})")
        values = [(value, value, value) for value in (_value(row, metric) or 0.0 for row in rows)]
    points = [
        Point(row.operations or 0.0, *value, label, _colour(row))
        for row, value, label in zip(rows, values, _ways(rows), strict=True)
    ]
    _draw_free(figure, axes, free)
    draw_points(figure, axes, points)
    return figure


def _is_free(row: Row) -> bool:
    """Return whether nothing was sampled: real images alone, or retrieved ones."""
    return row.score.release is None or row.operations == 0


def _draw_free(figure: Figure, axes: Axes, free: Sequence[Row]) -> None:
    """Draw the accuracy of rows that took no sampling as lines, and their names below the plot."""
    names = [drawable(row.label) for row in free]
    for row, name, dashes in zip(free, names, cycle(("--", ":", "-.")), strict=False):
        accuracy = 100 * row.accuracy.overall.mean
        axes.axhline(accuracy, color=REAL_LOOK.colour, linestyle=dashes, linewidth=1.2, label=name, zorder=1)
    if free:
        figure.legend(loc="outside lower left", ncols=4, title="without sampling", alignment="left")


def _logarithmic(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _value(row: Row, metric: Metric) -> float | None:
    value: float | None = getattr(row.sets.overall, metric.key) if row.sets else None
    return value


def _space(row: Row) -> str:
    return row.sets.features if row.sets else ""


def _points(rows: Sequence[Row], metric: Metric, space: str) -> Figure:
    figure = _figure_of(rows)
    axes = figure.subplots()
    axes.grid()
    axes.set_xlabel(f"{metric.name} in the feature space {drawable(space, _SPACE)} ({metric.reads})")
    axes.set_ylabel("accuracy in %")
    title = heading(rows[0].score)
    axes.set_title(f"{title}: accuracy against {metric.name}; 95 % interval over runs")
    points = [
        Point(_value(row, metric) or 0.0, *percent(row.accuracy.overall), label, _colour(row))
        for row, label in zip(rows, _names(rows), strict=True)
    ]
    draw_points(figure, axes, points)
    return figure


def _figure_of(rows: Sequence[Row]) -> Figure:
    # Where points have numbers, each line of the list that explains them takes a fifth of an inch.
    return new_figure(WIDTH, max(5.4, 0.6 + 0.2 * len(rows)))


def _colour(row: Row) -> str:
    if row.score.release is None:
        return REAL
    return BASELINE if row.score.release.method == "random-image" else OTHER


def _names(rows: Sequence[Row]) -> list[str]:
    return [drawable(name) for name in short_names(rows)]


def _ways(rows: Sequence[Row]) -> list[str]:
    """Return names that tell how each row was sampled: what its name has beyond that of the others."""
    own = own_words(rows)
    return [
        drawable(name, _LETTERS_OF_WAYS) for name in (own if len({*own}) == len(own) else short_names(rows))
    ]
