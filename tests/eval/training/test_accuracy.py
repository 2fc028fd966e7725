"""Accuracies of groups, and their intervals over seeds and over images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from synthkit_eval.score import Mean
from synthkit_eval.training.accuracy import Grouping, accuracies, per_class


def test_group_means_of_a_hand_made_confusion() -> None:
    confusion = np.array([[9, 1, 0, 0], [2, 6, 2, 0], [0, 0, 5, 5], [10, 0, 0, 10]])
    cells = [(true, found) for true in range(4) for found in range(4) for _ in range(confusion[true, found])]
    labels, predictions = np.array(cells).T
    classes = per_class(predictions, labels, 4)
    assert classes.tolist() == [0.9, 0.6, 0.5, 0.5]
    grouping = Grouping.of(["many", "medium", "medium", "few"], np.array([10, 10, 10, 20]))
    assert grouping.parts(classes) == {
        "overall": pytest.approx(30 / 50),
        "class_mean": pytest.approx(2.5 / 4),
        "many": pytest.approx(0.9),
        "medium": pytest.approx(0.55),
        "few": pytest.approx(0.5),
    }
    assert Grouping.of(["few", "few"], np.array([1, 1])).parts(np.ones(2))["many"] is None


def test_intervals_over_seeds_and_over_images() -> None:
    values = [0.90, 0.92, 0.97]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    found = Mean.of(values)
    assert (found.mean, found.ci95) == (pytest.approx(np.mean(values)), pytest.approx((high - low) / 2))
    assert Mean.of([0.5]).ci95 is None
    grouping = Grouping.of(["many", "few"], np.array([150, 150]))
    overall = accuracies([np.array([0.9, 0.9])], grouping).overall
    p = (270 + 2) / 304
    assert overall.images_ci95 == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 304), rel=1e-6)
