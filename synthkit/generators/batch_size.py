"""`sampler.batch_size: auto`: as many images at once as a device holds, measured before anything is made."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import RecipeError
from synthkit.generators import needs_device
from synthkit.recipe.schema import AUTO, STOCK, Recipe
from synthkit.system.environment import choose_device, device_name
from synthkit.system.files import make_folder, write_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.generators.unclip import UnclipGenerator
    from synthkit.recipe.schema import Arithmetic, Sampler

# More than 32 at once is no faster on any device known; fewer sizes make the same number likelier on another.
SIZES = (1, 2, 4, 8, 16, 32)
ON_CPU = 16
# Of the device's memory; the rest is for what does not scale, as fragments and libraries' workspaces.
USABLE = 0.85


def choose_batch_size(
    checkpoint: Checkpoint, *, dtype: str, sampler: Sampler, device: str, arithmetic: Arithmetic = STOCK
) -> int:
    """The batch size for a model on a device: 16 on a CPU, what fits on a GPU.

    Raises GeneratorError if the model cannot be had, or if the device cannot hold a batch of one.
    """
    if not device.startswith("cuda"):
        return ON_CPU
    import torch

    from synthkit.generators.unclip import read_pipeline

    try:
        return measure(read_pipeline(checkpoint, dtype=dtype, device=device), sampler, arithmetic)
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def measure(pipeline: Any, sampler: Sampler, arithmetic: Arithmetic) -> int:
    """The largest of SIZES that a freshly loaded pipeline on a GPU can make, and has made once."""
    import torch

    from synthkit.generators.unclip import UnclipGenerator

    # Compiled code needs no more memory than the code it was compiled from, and minutes for each size.
    plain = arithmetic.model_copy(update={"compile": False})
    generator = UnclipGenerator(pipeline, sampler=_short(sampler, 1), arithmetic=plain)
    one, two = (_peak(generator, _short(sampler, size)) for size in (1, 2))
    total = torch.cuda.get_device_properties(pipeline.device).total_memory
    return largest(fitting(one, two, total), lambda size: _fits(generator, _short(sampler, size)))


def fitting(one: int, two: int, total: int) -> int:
    """The largest of SIZES by the peak bytes of batches of one and of two, and the device's bytes."""
    each = max(two - one, 1)
    room = (total * USABLE - one) / each + 1
    return max((size for size in SIZES if size <= room), default=SIZES[0])


def largest(start: int, fits: Callable[[int], bool]) -> int:
    """The first of start, start / 2 … that fits; 1 is known to."""
    size = start
    while size > 1 and not fits(size):
        size //= 2
    return size


def _short(sampler: Sampler, size: int) -> Sampler:
    """Memory is the same at every step."""
    return sampler.model_copy(update={"batch_size": size, "steps": min(sampler.steps, 2)})


def _fits(generator: UnclipGenerator, sampler: Sampler) -> bool:
    from synthkit.generators.unclip import OutOfMemory

    try:
        _peak(generator, sampler)
    except OutOfMemory:
        return False
    return True


def _peak(generator: UnclipGenerator, sampler: Sampler) -> int:
    """The most bytes that a batch takes on the device, the model included."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    size = sampler.batch_size
    embeddings = np.zeros((size, generator.embedding_size), np.float32)
    generator.resampled(sampler).generate(embeddings, [""] * size, range(size))
    return int(torch.cuda.max_memory_allocated())


def settled(recipe: Recipe, checkpoint: Checkpoint, work_root: Path, device: str) -> Recipe:
    """The recipe with a number for its batch size; numbers measured are kept in `work_root`.

    Raises GeneratorError if the device cannot hold one image, and BuildError if there is no such device.
    """
    if recipe.sampler.batch_size != AUTO:
        return recipe
    size = ON_CPU
    if needs_device(checkpoint) and (device := choose_device(device)) != "cpu":
        size = _remembered(recipe, checkpoint, work_root, device)
    print(f"sampler.batch_size: auto is {size} here", file=sys.stderr)
    return recipe.model_copy(update={"sampler": recipe.sampler.model_copy(update={"batch_size": size})})


def refuse_auto(recipe: Recipe) -> None:
    """Raise RecipeError if a batch size is left to be measured where several machines must agree on it."""
    if recipe.sampler.batch_size == AUTO:
        raise RecipeError(
            "sampler.batch_size: auto is measured on one machine, and several that share a build could "
            "differ; give the number that one of them finds: --set sampler.batch_size=N"
        )


def _remembered(recipe: Recipe, checkpoint: Checkpoint, work_root: Path, device: str) -> int:
    facts = [
        checkpoint.revision,
        recipe.model.dtype,
        recipe.sampler.model_dump(mode="json"),
        recipe.arithmetic.model_dump(mode="json"),
        device_name(device),
    ]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    path = work_root / f"batch-size-{key}.json"
    try:
        return int(json.loads(path.read_bytes())["batch_size"])
    except (OSError, ValueError, KeyError, TypeError):
        size = choose_batch_size(
            checkpoint,
            dtype=recipe.model.dtype,
            sampler=recipe.sampler,
            device=device,
            arithmetic=recipe.arithmetic,
        )
    make_folder(path.parent)
    write_file(path, json.dumps({"batch_size": size, "device": facts[-1]}).encode())
    return size
