"""Finds every pair of 64-bit hashes that differ in few bits, without comparing each hash with each other.

The bits are dealt out to b bands. Two hashes that differ in d bits differ in d bands at most, so at least b -
d bands are equal. For each choice of b - d bands, the hashes are sorted by the bits in these bands, and only
those with equal bits are compared. No pair is missed, whatever b is: it only decides how long it takes.

Source: G. S. Manku, A. Jain, A. Das Sarma, *Detecting Near-Duplicates for Web Crawling* (WWW 2007), part 3.
"""

from __future__ import annotations

from itertools import combinations, count
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BITS = 64
# To sort a hash takes as long as to compare about so many pairs.
_SORTING = 40
# Of a band's bits, about this share tells similar images apart.
_TELLING = 0.7
# More bands than distance + this make more choices than they save comparisons.
_MOST_BANDS = 6


def near_pairs(
    hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the places of all pairs of (N,) hashes that differ in at most `distance` bits, many at a time.

    A pair may come more than once. Memory grows with N, whatever the hashes are; time grows with the square
    of how many agree in most of their bits.
    """
    for mask in _masks(len(hashes), distance):
        order = np.argsort(hashes & mask)
        for first, second in _near_among_equal(hashes[order], mask, distance):
            yield order[first], order[second]


def _near_among_equal(
    ordered: NDArray[np.uint64], mask: np.uint64, distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the near pairs of hashes with equal bits below a mask, by which the hashes are ordered.

    Each hash is compared with the next one, then with the one after that, and so on while the bits are equal.
    """
    keys = ordered & mask
    rows = np.arange(len(ordered))
    for step in count(1):
        rows = rows[: np.searchsorted(rows, len(ordered) - step)]
        rows = rows[keys[rows] == keys[rows + step]]
        if not len(rows):
            return
        close = rows[np.bitwise_count(ordered[rows] ^ ordered[rows + step]) <= distance]
        if len(close):
            yield close, close + step


def _masks(hashes: int, distance: int) -> list[np.uint64]:
    """Return the bits of every choice of bands, or one mask of no bits if comparing every pair is faster."""
    possible = range(distance + 1, min(distance + _MOST_BANDS, _BITS) + 1)
    bands = min(possible, key=lambda bands: _cost(hashes, bands, distance), default=0)
    if not bands or _cost(hashes, bands, distance) >= hashes**2 / 2:
        return [np.uint64(0)]
    # Neighbouring bits of an image's hash are alike: a band takes every b-th bit.
    bits = [sum(1 << bit for bit in range(band, _BITS, bands)) for band in range(bands)]
    return [np.uint64(sum(kept)) for kept in combinations(bits, bands - distance)]


def _cost(hashes: int, bands: int, distance: int) -> float:
    """Return about how many pairs could be compared in the time that so many bands take."""
    equal_bits = _TELLING * _BITS * (bands - distance) / bands
    return comb(bands, distance) * hashes * (_SORTING + hashes / 2 / 2**equal_bits)
