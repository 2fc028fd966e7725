"""`batch_size: auto` settled: measured once for a model on a kind of device, and remembered.

It is part of what an image depends on, so a second build must find the same number, however busy the
device is then.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING

from synthkit.environment import choose_device, device_name
from synthkit.errors import RecipeError
from synthkit.files import make_folder, write_file
from synthkit.generators import needs_device
from synthkit.generators.batch_size import ON_CPU, choose_batch_size
from synthkit.recipe import AUTO

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe import Recipe


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
