"""Pairs of hashes that differ in few bits are those that a comparison of every pair finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from synthkit.inspection import hash_neighbours
from synthkit.inspection.hash_neighbours import near_pairs


def found(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.bool_]:
    near = np.zeros((len(hashes), len(hashes)), dtype=bool)
    for first, second in near_pairs(hashes, distance):
        near[first, second] = near[second, first] = True
    return near


def of_every_pair(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.bool_]:
    near = np.bitwise_count(hashes[:, None] ^ hashes[None, :]) <= distance
    return near & ~np.eye(len(hashes), dtype=bool)


@st.composite
def hashes(draw: st.DrawFn) -> NDArray[np.uint64]:
    """Up to 900 hashes: of all bits or of few, many of them with a few bits of another turned round."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    drawn = rng.integers(0, 1 << draw(st.sampled_from([4, 16, 40, 64])), draw(st.integers(0, 300)), np.uint64)
    turned = [drawn]
    for _ in range(draw(st.integers(0, 2))):
        flips = np.zeros(len(drawn), dtype=np.uint64)
        for _ in range(draw(st.integers(1, 5))):
            flips |= np.uint64(1) << rng.integers(0, 64, len(drawn), dtype=np.uint64)
        turned.append(turned[-1] ^ flips)
    return np.unique(np.concatenate(turned))


@given(some=hashes(), distance=st.integers(0, 6), sorting=st.sampled_from([0, 40]))
def test_no_pair_is_missed_and_none_is_added(some: NDArray[np.uint64], distance: int, sorting: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # If sorting costs nothing, few hashes are searched by bands as well.
        patch.setattr(hash_neighbours, "_SORTING", sorting)
        near = found(some, distance)
    assert np.array_equal(near, of_every_pair(some, distance))


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 5, 8, 12, 33, 63, 64])
def test_every_distance(distance: int) -> None:
    rng = np.random.default_rng(distance)
    some = rng.integers(0, 2**64, 1500, dtype=np.uint64)
    # A chain whose links differ in one bit each.
    some[:65] = np.bitwise_xor.accumulate(
        np.concatenate([some[:1], np.uint64(1) << np.arange(64, dtype=np.uint64)])
    )
    assert np.array_equal(found(some, distance), of_every_pair(some, distance))


def test_hashes_that_agree_in_most_bits() -> None:
    some = np.arange(2000, dtype=np.uint64) << np.uint64(3)
    assert np.array_equal(found(some, 2), of_every_pair(some, 2))


def test_one_hash_and_none() -> None:
    assert list(near_pairs(np.zeros(0, dtype=np.uint64), 2)) == []
    assert list(near_pairs(np.zeros(1, dtype=np.uint64), 64)) == []
