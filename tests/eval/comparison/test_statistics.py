"""Intervals cover what they should, corrections are right, and what is not there is not shown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit

from synthkit_eval.comparison.statistics import Images, holm, paired, unpaired

CLASSES = 10


def even(images: int) -> Images:
    return Images(np.arange(images) % CLASSES, np.full(CLASSES, 1 / CLASSES))


def runs(rng: np.random.Generator, shape: tuple[int, int], logits: np.ndarray, spread: float) -> np.ndarray:
    """Whether runs, each a little better or worse as a whole, are right about images of such difficulty."""
    own = rng.normal(0, spread, (shape[0], 1))
    return (rng.random(shape) < expit(logits + own)).astype(float)


def difficulty(rng: np.random.Generator, images: int, better: float) -> tuple[np.ndarray, np.ndarray]:
    logits = rng.normal(2.5, 2.5, images)
    return logits, logits + rng.normal(better, 0.5, images) * (better > 0)


def truth(better: float, spread: float) -> float:
    rng = np.random.default_rng(1)
    theirs, mine = difficulty(rng, 400_000, better)
    own = rng.normal(0, spread, (2, len(mine)))
    return float((expit(mine + own[0]) - expit(theirs + own[1])).mean())


@pytest.mark.parametrize(
    ("count", "images", "spread", "together"),
    [
        (5, 300, 0.1, True),
        pytest.param(5, 880, 0.3, True, marks=pytest.mark.slow),
        pytest.param(15, 300, 0.2, True, marks=pytest.mark.slow),
        (5, 300, 0.2, False),
    ],
)
def test_95_percent_intervals_cover_the_truth_in_95_percent(
    count: int, images: int, spread: float, together: bool
) -> None:
    rng = np.random.default_rng(17)
    covered, expected = [], truth(0.3, spread)
    for _ in range(700):
        theirs, mine = difficulty(rng, images, 0.3)
        sides = [runs(rng, (count, images), logits, spread) for logits in (mine, theirs)]
        low, high = (paired if together else unpaired)(*sides, even(images)).interval
        covered.append(low <= expected <= high)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.3])
def test_a_difference_that_is_not_there_is_rarely_shown(spread: float) -> None:
    rng = np.random.default_rng(5)
    shown = 0
    for _ in range(150):
        logits, _ = difficulty(rng, 300, 0.0)
        baseline = runs(rng, (5, 300), logits, spread)
        p = [paired(runs(rng, (5, 300), logits, spread), baseline, even(300)).p for _ in range(4)]
        shown += min(holm(p)) < 0.05
    assert shown <= 13  # 5 % of 150 and two standard deviations


def test_a_difference_that_is_visible_is_shown_in_four_of_five() -> None:
    rng = np.random.default_rng(3)
    shown, visible = 0, []
    size = truth(0.35, 0.1)
    for _ in range(300):
        theirs, mine = difficulty(rng, 880, 0.35)
        found = paired(*(runs(rng, (5, 880), logits, 0.1) for logits in (mine, theirs)), even(880))
        shown += found.p < 0.05
        visible.append(found.visible(1))
    # The size is a little above what is visible on average, so a little more than 80 % are shown.
    assert np.median(visible) == pytest.approx(size, rel=0.25)
    assert 0.65 < shown / 300 < 0.97


def test_holm_is_his() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(6).tolist()
        order = np.argsort(p)
        rejected = {place for place, value in enumerate(holm(p)) if value < 0.3}
        by_hand = set()
        for rank, place in enumerate(order):
            if p[place] >= 0.3 / (6 - rank):
                break
            by_hand.add(int(place))
        assert rejected == by_hand


def test_with_one_image_factor_it_is_a_paired_t_test_over_runs() -> None:
    # All images answer alike within a run: only runs vary.
    mine = np.repeat([[1.0], [1.0], [0.0], [1.0]], 2000, axis=1)
    theirs = np.repeat([[0.0], [1.0], [0.0], [0.0]], 2000, axis=1)
    found = paired(mine, theirs, even(2000))
    expected = stats.ttest_rel(mine[:, 0], theirs[:, 0])
    low, high = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(0.5)
    assert found.interval == pytest.approx((low, high), rel=1e-3)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-2)


def test_with_one_run_it_is_a_paired_t_test_over_images() -> None:
    rng = np.random.default_rng(2)
    mine, theirs = (rng.random((1, 900)) < share for share in (0.9, 0.8))
    one_class = Images(np.zeros(900, dtype=int), np.ones(1))
    found = paired(mine.astype(float), theirs.astype(float), one_class)
    expected = stats.ttest_rel(mine[0].astype(float), theirs[0].astype(float))
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert not found.over_runs


def test_runs_on_other_images_are_paired_where_they_overlap() -> None:
    rng = np.random.default_rng(4)
    mine, theirs = (runs(rng, (5, 300), np.full(300, level), 0.0) for level in (3.0, 2.0))
    whole = paired(mine, theirs, even(300))
    for place in range(5):
        mine[place, place * 10 : place * 10 + 10] = np.nan
    partly = paired(mine, theirs, even(300))
    assert partly.difference == pytest.approx(whole.difference, abs=0.005)
    assert partly.error == pytest.approx(whole.error, rel=0.1)


def test_no_interval_has_a_width_of_0() -> None:
    same = np.ones((3, 300))
    found = paired(same, same, even(300))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.interval[1] > 0.002
    better = paired(same, np.zeros((3, 300)), even(300))
    assert better.interval[0] < 1 < better.interval[1]
