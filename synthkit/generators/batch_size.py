"""`sampler.batch_size: auto`: as many images at once as a device holds, settled before anything is made."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from typing import TYPE_CHECKING

from synthkit.errors import RecipeError
from synthkit.generators import load, needs_device
from synthkit.generators.device_memory import at_most_two_steps, largest_batch
from synthkit.recipe.sampler import AUTO
from synthkit.system.environment import choose_device, device_name
from synthkit.system.files import make_folder, write_file

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe

# Larger batches are no faster on a CPU.
ON_CPU = 16


def settled(recipe: Recipe, checkpoint: Checkpoint, work_root: Path, device: str) -> Recipe:
    """Return the recipe with a number for its batch size; measured numbers are kept in `work_root`.

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
    """Raise RecipeError if the batch size is to be measured where several machines must agree on it."""
    if recipe.sampler.batch_size == AUTO:
        raise RecipeError(
            "sampler.batch_size: auto is measured on one machine, and several that share a build could "
            "differ; give the number that one of them finds: --set sampler.batch_size=N"
        )


def choose_batch_size(checkpoint: Checkpoint, recipe: Recipe, device: str) -> int:
    """Return the batch size for a model on a device: 16 on a CPU, what fits on a GPU.

    Raises GeneratorError if the model cannot be loaded, or if the device cannot hold a batch of one.
    """
    if not device.startswith("cuda"):
        return ON_CPU
    import torch

    # Compiled code needs no more memory than the code it was compiled from, and minutes for each size.
    plain = {
        "arithmetic": recipe.arithmetic.model_copy(update={"compile": False}),
        "sampler": at_most_two_steps(recipe.sampler, 1),
    }
    try:
        return largest_batch(
            load(checkpoint, recipe.model_copy(update=plain), device), recipe.sampler, device
        )
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def _remembered(recipe: Recipe, checkpoint: Checkpoint, work_root: Path, device: str) -> int:
    """Return the batch size measured for the same model, settings and kind of device, or measure it now."""
    kind = device_name(device)
    decides = [
        checkpoint.revision,
        recipe.model.dtype,
        recipe.sampler.model_dump(mode="json", exclude_none=True),
        recipe.arithmetic.model_dump(mode="json"),
        kind,
    ]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    path = work_root / f"batch-size-{key}.json"
    try:
        return int(json.loads(path.read_bytes())["batch_size"])
    except (OSError, ValueError, KeyError, TypeError):
        size = choose_batch_size(checkpoint, recipe, device)
    make_folder(path.parent)
    write_file(path, json.dumps({"batch_size": size, "device": kind}).encode())
    return size
