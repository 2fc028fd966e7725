"""The figures of pages of scores: what each class gained, and accuracy after each epoch."""

from __future__ import annotations

import numpy as np
import pytest

from synthkit_eval.comparison.plot_detail import classes_figures, epochs_figures
from synthkit_eval.comparison.plot_differences import difference_figures
from synthkit_eval.comparison.plot_style import styled
from synthkit_eval.contrast import Contrast
from tests.helpers.plots import assert_readable, sections
from tests.helpers.scores import ECD, MIXUP, REAL, score


def test_what_each_class_gained_stands_in_its_cell() -> None:
    made = [score(REAL), score([value + 0.05 for value in REAL], method="dropout")]
    with styled():
        ((_, figure),) = classes_figures(sections(made))
        assert_readable(figure)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["+5"] * 10
    assert next(label.get_text() for label in axes.get_xticklabels()) == "class 0 (9)"
    assert "over real only" in figure.get_suptitle()


def test_many_classes_are_a_line_from_the_one_that_lost_most() -> None:
    made = [score(REAL, classes=100), score([value + 0.05 for value in REAL], method="dropout", classes=100)]
    with styled():
        ((_, figure),) = classes_figures(sections(made))
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == "dropout: 100 of 100 gained"


def test_curves_have_a_point_for_each_epoch() -> None:
    with styled():
        ((_, figure),) = epochs_figures(sections([score(REAL), score(ECD, method="dropout")]))
        assert_readable(figure)
    (axes,) = figure.axes
    assert [list(line.get_xdata()) for line in axes.get_lines()] == [[1, 2, 3, 4, 5]] * 2


def test_differences_stand_with_their_intervals_those_fixed_beforehand_first() -> None:
    made = [score(REAL), score(ECD, method="dropout"), score(MIXUP, method="mixup")]
    fixed = [Contrast(of="dropout", against="mixup")]
    with styled():
        ((_, figure),) = difference_figures(sections(made, fixed))
        assert_readable(figure)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["dropout − mixup", "dropout − real only", "mixup − real only"]
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    expected = [np.mean(ECD) - np.mean(MIXUP), np.mean(ECD) - np.mean(REAL), np.mean(MIXUP) - np.mean(REAL)]
    drawn = [float(line.get_xdata()[0]) for line in points]
    assert drawn == pytest.approx([100 * one for one in expected], abs=0.1)
    # Full if it is shown, by the same numbers as the table.
    (section,) = sections(made, fixed)
    full = [line.get_markerfacecolor() != "white" for line in points]
    assert full == [one.shown for one in section.differences]
