"""Image generators behind one protocol: one module per family of models, listed in `PIPELINES`.

`checkpoint.locate` finds and identifies a model, `load` makes it ready to use.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeVar

from synthkit.errors import GeneratorError
from synthkit.generators.base import check_dtype
from synthkit.generators.model_files import read_index_of
from synthkit.recipe.schema import AUTO
from synthkit.system.environment import NO_DEVICE, choose_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.generators.base import Generator
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe

Told = TypeVar("Told")

# The class that a model's model_index.json names: the generator that runs it, as "module:Class". A module is
# imported when a model of its family is met.
PIPELINES = {
    "StableUnCLIPImg2ImgPipeline": "synthkit.generators.unclip:UnclipGenerator",
    "FlatColours": "synthkit.generators.flat:FlatColours",
}


def load(checkpoint: Checkpoint, recipe: Recipe, device: str) -> Generator:
    """Return the generator of a checkpoint on a device, set as a recipe says.

    Raises GeneratorError if no family runs such a model, if its files cannot be loaded, or if the family or
    the device does not have what the recipe asks for.
    """
    if recipe.sampler.batch_size == AUTO:
        raise GeneratorError("sampler.batch_size: auto is measured by a build; set a number")
    check_recipe(checkpoint, recipe)
    return family_of(checkpoint).load(checkpoint, recipe, device)


def check_recipe(checkpoint: Checkpoint, recipe: Recipe) -> None:
    """Raise GeneratorError if no family runs a checkpoint, or its family lacks what the recipe asks for.

    Nothing is loaded.
    """
    family_of(checkpoint).check_recipe(recipe)


def family_of(checkpoint: Checkpoint) -> type[Generator]:
    """Return the generator class that runs a checkpoint. Raises GeneratorError if there is none."""
    name = pipeline_class(checkpoint)
    if name not in PIPELINES:
        # The other families are for trials: nobody has a model of theirs.
        known = " or ".join(name for name in PIPELINES if name.endswith("Pipeline"))
        raise GeneratorError(f"model {checkpoint.name}: is a {name:.64}; synthkit needs a {known}")
    family: type[Generator] = resolve_name(PIPELINES[name])
    return family


def pipeline_class(checkpoint: Checkpoint) -> str:
    """Return the name of the pipeline class in a checkpoint's model_index.json.

    Raises GeneratorError if that file is missing or does not say.
    """
    return str(read_index_of(checkpoint.folder, checkpoint.name)["_class_name"])


def needs_device(checkpoint: Checkpoint) -> bool:
    """Return whether a CPU or a GPU runs the model. Raises GeneratorError if no family knows it."""
    return family_of(checkpoint).NEEDS_DEVICE


def choose_device_for(checkpoint: Checkpoint, dtype: str, wanted: str) -> str:
    """Return the device to run a checkpoint on; NO_DEVICE where there is nothing to run.

    Raises BuildError if the wanted device is not here, and GeneratorError if it cannot compute in `dtype`.
    """
    device = choose_device(wanted) if needs_device(checkpoint) else NO_DEVICE
    check_dtype(dtype, device)
    return device


def image_edge(checkpoint: Checkpoint) -> int | None:
    """Return the edge in pixels of the images a checkpoint makes; None if its files do not say it."""
    return _if_told(lambda: family_of(checkpoint).image_edge(checkpoint.folder))


def embedding_shape(checkpoint: Checkpoint) -> tuple[int, ...] | None:
    """Return the shape of a checkpoint's embeddings; None if its files do not say it."""
    return _if_told(lambda: family_of(checkpoint).embedding_shape_in(checkpoint.folder))


def _if_told(read: Callable[[], Told]) -> Told | None:
    try:
        return read()
    except (GeneratorError, OSError, ValueError, KeyError, TypeError):
        return None
