"""Which images a minibatch holds: a fixed share of real ones beside one pass over the synthetic ones.

Source: Chen et al. 2025, section 4.1 and Table 4: a batch is half synthetic, from one shuffled pass over
the synthetic images (which is an epoch), and half real, drawn with replacement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

HALF = 0.5


@dataclass(frozen=True, slots=True)
class Shares:
    """How many images of a full minibatch are real, and how many are synthetic."""

    real: int
    synthetic: int

    @classmethod
    def of(cls, size: int, real: float) -> Shares:
        """Divide a minibatch of `size` images, of which the share `real`, at least 0 and below 1, are real.

        The number of real ones is rounded (a half up), and there is at least one image of each kind; a
        share of 0 is no real image.
        """
        if real == 0:
            return cls(0, size)
        count = min(max(1, math.floor(real * size + 0.5)), size - 1)
        return cls(count, size - count)

    def real_beside(self, synthetic: int) -> int:
        """Return how many real images go with so many synthetic ones: in proportion, rounded up."""
        return -(-synthetic * self.real // self.synthetic)


class MixedBatches:
    """A sampler of the indices of each batch: real ones drawn with replacement, then synthetic ones.

    Synthetic images are numbered after the real ones. The last batch of an epoch may be smaller, with as
    many real images in proportion; `drop_last` leaves it out.
    """

    def __init__(
        self, real: int, synthetic: int, shares: Shares, seed: int, *, drop_last: bool = False
    ) -> None:
        self._real, self._synthetic, self._shares, self._seed = real, synthetic, shares, seed
        self._used = synthetic - synthetic % shares.synthetic if drop_last else synthetic
        self._epoch = 0

    def __len__(self) -> int:
        return math.ceil(self._used / self._shares.synthetic)

    def __iter__(self) -> Iterator[list[int]]:
        # The epoch is counted when the first batch is taken: a loader with workers makes two iterators.
        self._epoch += 1
        yield from self.batches(self._epoch - 1)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the batches of an epoch; their order depends on the seed and the epoch alone."""
        rng = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        order = rng.permutation(self._synthetic)[: self._used]
        for start in range(0, self._used, self._shares.synthetic):
            part = order[start : start + self._shares.synthetic]
            drawn = rng.integers(self._real, size=self._shares.real_beside(len(part)))
            yield [*drawn.tolist(), *(self._real + part).tolist()]
