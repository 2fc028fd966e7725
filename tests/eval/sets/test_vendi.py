"""The Vendi score is that of its authors' package, from either matrix of products."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from synthkit_eval.sets.vendi import vendi_score


@pytest.mark.parametrize(
    ("count", "dimensions"), [(1, 5), (2, 5), (30, 128), (128, 30), (64, 64), (600, 20), (20, 600)]
)
def test_the_score_is_that_of_its_authors(count: int, dimensions: int) -> None:
    from vendi_score import vendi

    directions = np.random.default_rng(count).standard_normal((count, dimensions)) + 0.5
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what scipy will remove
        expected = vendi.score_X(directions, normalize=False)
    assert vendi_score(directions) == pytest.approx(expected, rel=1e-10)


def test_equal_images_are_worth_one_and_perpendicular_ones_their_number() -> None:
    assert vendi_score(np.tile([0.6, 0.8], (9, 1))) == pytest.approx(1, abs=1e-9)
    assert vendi_score(np.eye(6)) == pytest.approx(6, rel=1e-12)
    assert vendi_score(np.repeat(np.eye(6)[:3], 4, axis=0)) == pytest.approx(3, rel=1e-12)
