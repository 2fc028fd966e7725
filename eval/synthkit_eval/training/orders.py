"""Which images the minibatches of an epoch hold.

Source: Chen et al. 2025, section 4.1 (half real, half synthetic, with one pass over the synthetic images) and
4.2 (a coin for each image).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synthkit.release.loader_batches import MixedBatches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit.release.loader_batches import Shares
    from synthkit_eval.sections.batches import Batches
    from synthkit_eval.training.distributed import World

# Sets these draws apart from those of an order with the same seed.
_WEIGHTED = 2


class Order(Protocol):
    """Which images each minibatch of an epoch holds; synthetic ones are numbered after the real ones."""

    def __len__(self) -> int:
        """Return the number of minibatches of an epoch."""
        ...

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch; they follow from the seed and the epoch."""
        ...


class Drawn:
    """Minibatches drawn with replacement: from the real images alone, or from both by a coin.

    The coin shows the real side with the probability `real_share`.
    """

    def __init__(
        self, real: int, synthetic: int, size: int, iterations: int, seed: int, real_share: float
    ) -> None:
        self._real, self._synthetic, self._size = real, synthetic, size
        self._iterations, self._seed, self._real_share = iterations, seed, real_share

    def __len__(self) -> int:
        return self._iterations

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch."""
        rng = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        for _ in range(self._iterations):
            drawn = rng.integers(self._real, size=self._size)
            if self._synthetic:
                synthetic = self._real + rng.integers(self._synthetic, size=self._size)
                drawn = np.where(rng.random(self._size) < 1 - self._real_share, synthetic, drawn)
            yield drawn.tolist()


def make_order(
    batches: Batches, real: int, synthetic: int, steps: int, seed: int, world: World, shown: int | None = None
) -> Order:
    """Return the order that a protocol asks for; `steps` is the length of an epoch that is not one pass.

    `shown` is how many synthetic images an epoch shows, by default each once.
    """
    if batches.mixing == "coin" or not synthetic:
        return Drawn(real, synthetic, batches.size, steps, seed, batches.real)
    # The last minibatch is left out: a small one could leave a process without images.
    whole = world.size > 1
    if shown is not None:
        used = shown - shown % batches.shares.synthetic if whole else shown
        return Passes(real, synthetic, batches.shares, seed, used)
    return MixedBatches(real, synthetic, batches.shares, seed, drop_last=whole)


class Passes:
    """Minibatches as those of `MixedBatches`, with several shuffled passes over the synthetic images.

    An epoch has `shown` synthetic images: one pass after another, of which the last one may stop early.
    """

    def __init__(self, real: int, synthetic: int, shares: Shares, seed: int, shown: int) -> None:
        self._real, self._synthetic, self._shares = real, synthetic, shares
        self._seed, self._shown = seed, shown

    def __len__(self) -> int:
        return math.ceil(self._shown / self._shares.synthetic)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch."""
        rng = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        passes = math.ceil(self._shown / self._synthetic)
        order = np.concatenate([rng.permutation(self._synthetic) for _ in range(passes)])[: self._shown]
        for start in range(0, self._shown, self._shares.synthetic):
            part = order[start : start + self._shares.synthetic]
            drawn = rng.integers(self._real, size=self._shares.real_beside(len(part)))
            yield [*drawn.tolist(), *(self._real + part).tolist()]


class Among:
    """The minibatches of an order over some of the images; `indices` (M,) are theirs among all."""

    def __init__(self, order: Order, indices: NDArray[np.int64]) -> None:
        self._order, self._indices = order, indices

    def __len__(self) -> int:
        return len(self._order)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch."""
        for batch in self._order.batches(epoch):
            yield self._indices[batch].tolist()


class ByLevel:
    """The minibatches of the order that each epoch's level has; all orders are equally long."""

    def __init__(self, orders: Mapping[float | None, Order], levels: Sequence[float | None]) -> None:
        self._orders, self._levels = orders, levels

    def __len__(self) -> int:
        return len(self._orders[self._levels[0]])

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch."""
        return self._orders[self._levels[epoch]].batches(epoch)


class Weighted:
    """Minibatches drawn with replacement, each image in proportion to a weight of its own."""

    def __init__(self, weights: NDArray[np.float64], size: int, iterations: int, seed: int) -> None:
        self._bounds = np.cumsum(weights) / weights.sum()
        self._size, self._iterations, self._seed = size, iterations, seed

    def __len__(self) -> int:
        return self._iterations

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch."""
        rng = self.generator(epoch)
        for _ in range(self._iterations):
            yield self.drawn(rng, self._size)

    def generator(self, epoch: int) -> np.random.Generator:
        """Return what the draws of an epoch are made with."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, epoch, _WEIGHTED])))

    def drawn(self, rng: np.random.Generator, count: int) -> list[int]:
        """Draw so many indices."""
        # The last bound is 1 up to rounding, and a number may be above it.
        found = np.searchsorted(self._bounds, rng.random(count), side="right")
        return np.minimum(found, len(self._bounds) - 1).tolist()  # type: ignore[no-any-return]


class Paired:
    """The minibatches of one order, each followed by as many partners drawn from another."""

    def __init__(self, order: Order, partners: Weighted) -> None:
        self._order, self._partners = order, partners

    def __len__(self) -> int:
        return len(self._order)

    def batches(self, epoch: int) -> Iterator[list[int]]:
        """Yield the indices of each minibatch of an epoch, and those of its partners after them."""
        rng = self._partners.generator(epoch)
        for indices in self._order.batches(epoch):
            yield [*indices, *self._partners.drawn(rng, len(indices))]


def class_weights(
    labels: NDArray[np.int64], synthetic: int, share: float, frequency: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a weight for each image, (N,), so that class c is drawn in proportion to `frequency` (C,).

    The last `synthetic` images are synthetic. Within a class an image is real with the probability `share` if
    the class has both kinds; with a share of 0, real images are not drawn at all.
    """
    real = len(labels) - synthetic
    count = len(frequency)
    kinds = [np.bincount(part, minlength=count) for part in (labels[:real], labels[real:])]
    shares = [np.full(count, share), np.full(count, 1 - share)]
    if share and synthetic:
        shares = [np.where(other == 0, 1.0, mine) for mine, other in zip(shares, kinds[::-1], strict=True)]
    elif not synthetic:
        shares[0] = np.ones(count)
    weights = [frequency * mine / np.maximum(images, 1) for mine, images in zip(shares, kinds, strict=True)]
    return np.concatenate([weights[0][labels[:real]], weights[1][labels[real:]]])
