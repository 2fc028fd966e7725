"""How many images a GPU can make at once: measured, before anything is made."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from PIL import Image

from synthkit.generators.base import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.generators.base import Generator
    from synthkit.recipe.sampler import Sampler

# More than 32 at once is no faster on any device known; fewer sizes make the same number likelier on another.
SIZES = (1, 2, 4, 8, 16, 32)
# The share of a device's memory that is counted on; the rest is for fragments and the libraries' workspaces,
# which do not grow with the batch.
USABLE = 0.85
# Of the image whose embedding is computed, in pixels; an image processor scales it.
_EDGE = 224


def largest_batch(generator: Generator, sampler: Sampler, device: str) -> int:
    """Return the largest of SIZES that a generator on a GPU can make, and has made once.

    Raises OutOfMemory if the device cannot hold a batch of one.
    """
    import torch

    one, two = (_peak(generator, at_most_two_steps(sampler, size), device) for size in (1, 2))
    total = torch.cuda.get_device_properties(device).total_memory
    return halved_until(
        fitting(one, two, total), lambda size: _fits(generator, at_most_two_steps(sampler, size), device)
    )


def fitting(one: int, two: int, total: int) -> int:
    """Return the largest of SIZES, by the peak bytes of batches of one and of two, and the device's bytes."""
    each = max(two - one, 1)
    room = (total * USABLE - one) / each + 1
    return max((size for size in SIZES if size <= room), default=SIZES[0])


def halved_until(start: int, fits: Callable[[int], bool]) -> int:
    """Return the first of start, start / 2 … that fits; 1 is known to."""
    size = start
    while size > 1 and not fits(size):
        size //= 2
    return size


def at_most_two_steps(sampler: Sampler, batch_size: int) -> Sampler:
    """Return a sampler that needs the same memory in less time: memory is the same at every guided step."""
    fewer = {"steps": min(sampler.steps, 2), "guidance_interval": None}
    return sampler.model_copy(update={"batch_size": batch_size, **fewer})


def _fits(generator: Generator, sampler: Sampler, device: str) -> bool:
    try:
        _peak(generator, sampler, device)
    except OutOfMemory:
        return False
    return True


def _peak(generator: Generator, sampler: Sampler, device: str) -> int:
    """Return the most bytes that a batch takes on the device, the model included."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    size = sampler.batch_size
    measured = generator.resampled(sampler)
    # Of an image: without one, a model may have less to attend to.
    embeddings = measured.embed_images([Image.new("RGB", (_EDGE, _EDGE))] * size)
    measured.generate(embeddings, [""] * size, range(size))
    return int(torch.cuda.max_memory_allocated(device))
