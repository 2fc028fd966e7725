"""Figures from made-up scores, and whether all that is to be read in them can be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from synthkit_eval.comparison.differences import Section, compare_scores
from synthkit_eval.comparison.find import ScoreFile
from synthkit_eval.contrast import Contrast
from synthkit_eval.score import Score
from tests.helpers.scores import detail


def sections(scores: Sequence[Score], contrasts: Sequence[Contrast] = ()) -> list[Section]:
    files = [ScoreFile(Path(f"{number}.json"), one, detail(one)) for number, one in enumerate(scores)]
    return compare_scores(files, [], contrasts)


# What lies on what, in pixels


def shown_texts(figure: Figure) -> Iterator[Text]:
    """All that is to be read."""
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in figure.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        # matplotlib keeps the numbers of ticks beyond the ends of an axis, and does not draw them.
        for labels, (start, stop), place in (
            (axes.get_xticklabels(), axes.get_xlim(), 0),
            (axes.get_yticklabels(), sorted(axes.get_ylim()), 1),
        ):
            yield from (label for label in labels if start <= label.get_position()[place] <= stop)


def bars(axes: Axes) -> Iterator[Bbox]:
    """The error bars without their caps: each a line."""
    for lines in axes.findobj(LineCollection):
        for path in lines.get_segments():
            (x0, y0), (x1, y1) = axes.transData.transform(path)
            yield Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1)


def markers(axes: Axes) -> Iterator[Bbox]:
    for line in axes.get_lines():
        if line.get_marker() == "o":
            half = line.get_markersize() / 2 * axes.figure.dpi / 72
            for x, y in axes.transData.transform(line.get_xydata()):
                yield Bbox.from_extents(x - half, y - half, x + half, y + half)


def over(one: Bbox, other: Bbox) -> bool:
    return min(one.x1, other.x1) - max(one.x0, other.x0) > 0.5 and (
        min(one.y1, other.y1) - max(one.y0, other.y0) > 0.5
    )


def assert_readable(figure: Figure) -> list[str]:
    """No text lies on another, on a marker, on an error bar, or beyond the edge. The texts."""
    figure.draw_without_rendering()
    texts = [text for text in shown_texts(figure) if text.get_visible() and text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for (one, text), (other, beside) in itertools.combinations(zip(boxes, texts, strict=True), 2):
        assert not over(one, other), (text.get_text(), beside.get_text())
    for axes in figure.axes:
        for obstacle in (*bars(axes), *markers(axes)):
            for box, text in zip(boxes, texts, strict=True):
                assert not over(box, obstacle), (text.get_text(), obstacle)
    for box, text in zip(boxes, texts, strict=True):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text.get_text()
    return [text.get_text() for text in texts]
