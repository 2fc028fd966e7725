"""Precision, recall, density and coverage are those of the package `prdc`, whatever the size of a block."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkit_eval.sets import neighbours
from synthkit_eval.sets.neighbours import Neighbours, compare_neighbours


def by_prdc(real: np.ndarray, synthetic: np.ndarray, k: int) -> Neighbours:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        found = compute_prdc(real, synthetic, k)
    return Neighbours(**{key: float(value) for key, value in found.items()})


def points(count: int, dimensions: int, seed: int, shift: float = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, dimensions)) + shift).astype(np.float32)


def assert_the_same(found: Neighbours, expected: Neighbours) -> None:
    """Shares are quotients of the same counts; prdc multiplies the density by 1/k where we divide."""
    assert found == expected._replace(density=found.density)
    assert found.density == pytest.approx(expected.density, rel=1e-15)


@pytest.mark.parametrize(
    ("real", "synthetic", "dimensions", "shift"),
    [
        (7, 7, 2, 0),
        (40, 25, 3, 0.5),
        (300, 776, 128, 0.05),
        (1500, 1100, 64, 0.1),  # more than a block
        (200, 300, 768, 100),  # far from zero: large squares of small differences
    ],
)
def test_the_numbers_are_those_of_prdc(real: int, synthetic: int, dimensions: int, shift: float) -> None:
    sides = points(real, dimensions, 1, shift), points(synthetic, dimensions, 2, 1.1 * shift)
    assert_the_same(compare_neighbours(*sides, 5), by_prdc(*sides, 5))


@settings(max_examples=25)
@given(st.data())
def test_equal_distances_and_equal_points_count_as_in_prdc(data: st.DataObject) -> None:
    """On a grid of whole numbers distances are exact, and many of them the same."""
    k = data.draw(st.integers(1, 4))
    sides = [
        np.array(
            data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=k + 2, max_size=20)),
            dtype=np.float32,
        )
        for _ in range(2)
    ]
    assert_the_same(compare_neighbours(*sides, k), by_prdc(*sides, k))


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sides = points(50, 4, 1), points(64, 4, 2, 0.3)
    whole = compare_neighbours(*sides, 5)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    assert compare_neighbours(*sides, 5) == whole
