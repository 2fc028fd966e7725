"""Minibatches for training and testing: which images they hold, and the processes that read and decode them.

Source: Chen et al. 2025, section 4.1 (half real, half synthetic, with one pass over the synthetic images) and
4.2 (a coin for each image).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torch.utils.data import DataLoader  # noqa: TID253

from synthkit.errors import SourceError, SynthkitError
from synthkit.release.loader_batches import MixedBatches
from synthkit_eval.training.augmentation import COLUMNS, evaluation_pixels, training_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from synthkit.sources.pool import RealImages
    from synthkit_eval.protocol import Batches, Images
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.synthetic_images import SyntheticImages


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


def make_order(batches: Batches, real: int, synthetic: int, steps: int, seed: int, world: World) -> Order:
    """Return the order that a protocol asks for; `steps` is the length of an epoch that is not one pass."""
    if batches.mixing == "coin" or not synthetic:
        return Drawn(real, synthetic, batches.size, steps, seed, batches.real)
    # The last minibatch is left out: a small one could leave a process without images.
    return MixedBatches(real, synthetic, batches.shares, seed, drop_last=world.size > 1)


class Batch(NamedTuple):
    """A process's share of a minibatch: indices of images, and their random numbers (N, COLUMNS)."""

    indices: list[int]
    uniform: NDArray[np.float64]


class Loaded(NamedTuple):
    """Pixels (N, 3, size, size) uint8, labels (N,) int64, and the random numbers for the colours."""

    pixels: Tensor
    labels: Tensor
    uniform: NDArray[np.float64]


class Failed(NamedTuple):
    """Why a worker process could not read a minibatch; a raised error would arrive with its traceback."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Shares:
    """A process's share of each minibatch of an epoch."""

    order: Order
    epoch: int
    seed: int
    world: World

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        mine = slice(self.world.rank, None, self.world.size)
        for number, indices in enumerate(self.order.batches(self.epoch)):
            sequence = np.random.SeedSequence([self.seed, self.epoch, number])
            uniform = np.random.Generator(np.random.Philox(sequence)).random((len(indices), COLUMNS))
            yield Batch(indices[mine], uniform[mine])


class TrainingImages:
    """Real and synthetic images as one data set, which reads and augments a minibatch at a time."""

    def __init__(self, real: RealImages, synthetic: SyntheticImages | None, images: Images) -> None:
        self._real, self._synthetic, self._images = real, synthetic, images
        labels = [real.listing.labels] + ([] if synthetic is None else [synthetic.labels])
        self.labels = np.concatenate(labels).astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, batch: Batch) -> Loaded | Failed:
        """Return a minibatch, read and decoded; worker processes call this."""
        try:
            return self._load(batch)
        except (SynthkitError, OSError) as error:
            return Failed(str(error))

    def _load(self, batch: Batch) -> Loaded:
        edge = self._images.size
        pixels = torch.empty((len(batch.indices), 3, edge, edge), dtype=torch.uint8)
        for place, index in enumerate(batch.indices):
            pixels[place] = training_pixels(self.pixels(index), self._images, batch.uniform[place])
        return Loaded(pixels, torch.from_numpy(self.labels[batch.indices]), batch.uniform)

    def pixels(self, index: int) -> Tensor:
        """Return an image as (3, H, W) uint8; the real ones have the first indices."""
        first = len(self._real.listing)
        if index < first or self._synthetic is None:
            return _as_tensor(self._real.load(index))
        return _as_tensor(self._synthetic.image(index - first))


class EvaluationImages:
    """Evaluation images as a data set, which reads and resizes a minibatch at a time."""

    def __init__(self, real: RealImages, images: Images) -> None:
        self._real, self._images = real, images

    def __len__(self) -> int:
        return len(self._real.listing)

    def __getitems__(self, indices: list[int]) -> Loaded | Failed:
        """Return a minibatch, read and decoded; worker processes call this."""
        try:
            return self._load(indices)
        except (SynthkitError, OSError) as error:
            return Failed(str(error))

    def _load(self, indices: list[int]) -> Loaded:
        pixels = [evaluation_pixels(_as_tensor(self._real.load(index)), self._images) for index in indices]
        labels = self._real.listing.labels[indices].astype(np.int64)
        return Loaded(torch.stack(pixels), torch.from_numpy(labels), np.empty((len(indices), 0)))


def training_batches(
    images: TrainingImages, order: Order, *, epoch: int, seed: int, world: World, workers: int
) -> Iterator[Loaded]:
    """Yield the minibatches of an epoch, the same whatever the number of worker processes.

    Raises SourceError if an image cannot be read.
    """
    return _load(images, _Shares(order, epoch, seed, world), workers)


def evaluation_batches(images: EvaluationImages, size: int, world: World, workers: int) -> Iterator[Loaded]:
    """Yield a process's share of the evaluation images in minibatches.

    Raises SourceError if an image cannot be read.
    """
    mine = range(world.rank, len(images), world.size)
    return _load(images, [mine[start : start + size] for start in range(0, len(mine), size)], workers)


def _load(images: object, batches: object, workers: int) -> Iterator[Loaded]:
    loader: DataLoader[Loaded | Failed] = DataLoader(
        images,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        prefetch_factor=2 if workers else None,
        worker_init_fn=_leave_interrupts_alone,
        pin_memory=torch.cuda.is_available(),
        # The loader draws a seed; from a generator of its own, it leaves the network's random numbers alone.
        generator=torch.Generator(),
    )
    for loaded in loader:
        if isinstance(loaded, Failed):
            raise SourceError(loaded.reason)
        yield loaded


def _leave_interrupts_alone(worker: int) -> None:
    """Ignore Ctrl-C in worker processes: it reaches the main process too, which stops them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(loaded: Loaded | Failed) -> Loaded | Failed:
    return loaded


def _as_tensor(image: Image.Image) -> Tensor:
    """Return (3, H, W) uint8; the colours of a pixel stay side by side in memory, which resizes fastest."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
