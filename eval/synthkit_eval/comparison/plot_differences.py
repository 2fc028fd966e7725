"""Differences with their intervals, one below the other: which are shown, and which were fixed beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit_eval.comparison.plot_style import (
    GREY,
    INK,
    REAL_LOOK,
    WIDTH,
    drawable,
    heading,
    new_figure,
)
from synthkit_eval.comparison.short_names import short_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from synthkit_eval.comparison.differences import Difference, Section

_LETTERS = 46


def difference_figures(sections: Sequence[Section]) -> Iterator[tuple[int, Figure]]:
    """Yield for each section with differences a plot of them, in points, with their 95 % intervals.

    Those fixed beforehand stand first, in black; a full point is one that is shown after the correction.
    """
    for section in sections:
        if section.differences:
            yield section.number, _forest(section)


def _forest(section: Section) -> Figure:
    found = sorted(section.differences, key=lambda d: not d.declared)
    figure = new_figure(WIDTH, 1.3 + 0.27 * len(found))
    axes = figure.subplots()
    axes.axvline(0, color=REAL_LOOK.colour, linewidth=1)
    for place, one in enumerate(found):
        low, high = one.interval
        colour = INK if one.declared else GREY
        axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
        axes.plot(
            one.points,
            place,
            marker="o",
            color=colour,
            markerfacecolor=colour if one.shown else "white",
            markersize=6,
        )
    names = _names(section)
    axes.set_yticks(range(len(found)), [_told(one, names) for one in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    figure.supxlabel("points, 95 % interval; full points: shown after the correction", fontsize=10)
    axes.set_title(f"{heading(section.first)}: differences")
    return figure


def _names(section: Section) -> dict[str, str]:
    return dict(zip((row.name for row in section.rows), short_names(section.rows), strict=True))


def _told(one: Difference, names: dict[str, str]) -> str:
    """Return both names; a row of another protocol has its own."""
    mine, other = (drawable(names.get(row.name, row.name), _LETTERS) for row in (one.mine, one.baseline))
    part = "" if one.part == "overall" else f" ({one.part.replace('_', ' ')})"
    return f"{mine} − {other}{part}"
