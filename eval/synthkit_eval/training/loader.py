"""Minibatches for training and testing, and the processes that read, decode and augment them."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torch.utils.data import DataLoader  # noqa: TID253

from synthkit.errors import SourceError, SynthkitError
from synthkit_eval.training.augmentation import COLUMNS, evaluation_pixels, training_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from synthkit.sources.pool import RealImages
    from synthkit_eval.sections.images import Images
    from synthkit_eval.training.distributed import World
    from synthkit_eval.training.orders import Order
    from synthkit_eval.training.synthetic_images import SyntheticImages


# Sets the seeds of a minibatch apart from its table of uniform numbers.
_SEEDS = 1


class Batch(NamedTuple):
    """A process's share of a minibatch: indices of images, and what is random about them.

    `uniform` (N, COLUMNS) has the numbers of each image's augmentation, `seeds` (N,) a seed for each image,
    and `seed` one for the whole minibatch, the same in all processes.
    """

    indices: list[int]
    uniform: NDArray[np.float64]
    seeds: NDArray[np.uint32]
    seed: int


class Loaded(NamedTuple):
    """Pixels (N, 3, size, size) uint8, labels (N,) int64, and the random numbers for the colours.

    In training also which images are synthetic, (N,) bool, and the seed of the minibatch.
    """

    pixels: Tensor
    labels: Tensor
    uniform: NDArray[np.float64]
    synthetic: Tensor | None = None
    seed: int = 0


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
            apart = np.random.SeedSequence([self.seed, self.epoch, number, _SEEDS])
            seed, *seeds = apart.generate_state(1 + len(indices))
            yield Batch(indices[mine], uniform[mine], np.asarray(seeds[mine]), int(seed))


class TrainingImages:
    """Real and synthetic images as one data set, which reads and augments a minibatch at a time.

    `change` is what else happens to an image's pixels (3, size, size) uint8, from a seed.
    """

    def __init__(
        self,
        real: RealImages,
        synthetic: SyntheticImages | None,
        images: Images,
        change: Callable[[Tensor, int], Tensor] | None = None,
    ) -> None:
        self._real, self._synthetic, self._images, self._change = real, synthetic, images, change
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
            image = training_pixels(self.pixels(index), self._images, batch.uniform[place])
            pixels[place] = image if self._change is None else self._change(image, int(batch.seeds[place]))
        synthetic = torch.tensor(batch.indices) >= len(self._real.listing)
        labels = torch.from_numpy(self.labels[batch.indices])
        return Loaded(pixels, labels, batch.uniform, synthetic, batch.seed)

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
