"""Trains the classifier that guides sampling (`sampler.feedback`) on the real images of a recipe."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.gradients import same_bits
from synthkit.generators.guide import new_guide
from synthkit.levels import start_pixels
from synthkit.recipe.feedback import SECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from synthkit.generators.guide import Guide
    from synthkit.recipe.feedback import FeedbackClassifier
    from synthkit.sources.pool import RealImages

_WEIGHT_DECAY = 0.02
# Of an image's edge, how far it is moved at most.
_MOVED = 1 / 8
# Of the memory that decoded images may take; those beyond are decoded again when they are drawn.
_KEPT_BYTES = 1 << 30


def trained(
    config: FeedbackClassifier, real: RealImages, seed: int, device: str, on_step: Callable[[], None]
) -> bytes:
    """Return the weights of a classifier of real images, as a safetensors file.

    Raises GeneratorError if timm has no such network, or if training makes values that are no numbers.
    """
    import torch
    from safetensors.torch import save

    with torch.random.fork_rng(), same_bits(device), _one_thread(device):
        torch.manual_seed(seed)
        guide = new_guide(config, len(real.listing.classes), device)
        _train(guide, config, _Images(real, guide.size, seed), on_step)
    weights = {name: value.cpu().contiguous() for name, value in guide.network.state_dict().items()}
    if not all(value.isfinite().all() for value in weights.values()):
        raise GeneratorError(
            f"{SECTION}.training.learning_rate: weights became values that are not numbers; lower it"
        )
    return bytes(save(weights))


def _train(guide: Guide, config: FeedbackClassifier, images: _Images, on_step: Callable[[], None]) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    training = config.training
    assert training is not None  # noqa: S101 (for the type checker)
    network = guide.network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps)
    for _ in range(training.steps):
        pixels, labels = images.drawn(training.batch_size)
        given = torch.from_numpy(pixels).to(guide.device).permute(0, 3, 1, 2).float() / 255
        optimiser.zero_grad()
        value = cross_entropy(guide(given), torch.from_numpy(labels).to(guide.device))
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        on_step()


class _Images:
    """Real images as a classifier is given them, drawn so that each class comes as often as another."""

    def __init__(self, real: RealImages, edge: int, seed: int) -> None:
        self._real, self._edge, self._rng = real, edge, np.random.default_rng(seed)
        labels = real.listing.labels
        self._of_class = [np.flatnonzero(labels == label) for label in range(len(real.listing.classes))]
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def drawn(self, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return (N, E, E, 3) pixels, each image moved a little, and (N,) labels."""
        labels = self._rng.integers(len(self._of_class), size=count)
        positions = [int(self._rng.choice(self._of_class[label])) for label in labels]
        return np.stack([self._moved(self._pixels(position)) for position in positions]), labels

    def _moved(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image moved by a drawn distance, what lies at its border repeated."""
        most = max(1, round(_MOVED * self._edge))
        down, right = self._rng.integers(2 * most + 1, size=2)
        wide = np.pad(pixels, ((most, most), (most, most), (0, 0)), mode="edge")
        return wide[down : down + self._edge, right : right + self._edge]

    def _pixels(self, position: int) -> NDArray[np.uint8]:
        if position in self._kept:
            return self._kept[position]
        pixels = start_pixels(self._real.load(position), self._edge)
        if (1 + len(self._kept)) * pixels.nbytes <= _KEPT_BYTES:
            self._kept[position] = pixels
        return pixels


@contextmanager
def _one_thread(device: str) -> Iterator[None]:
    """Let a CPU compute with one thread: sums over a batch have other last bits with another number."""
    import torch

    threads = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
