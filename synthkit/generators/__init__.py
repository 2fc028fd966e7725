"""Image generators behind one protocol: one module per family of models, listed in `families.py`.

`checkpoint.locate` finds and identifies a model, `load` makes it ready to use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from synthkit.conditioning import METHODS
from synthkit.errors import GeneratorError, one_line
from synthkit.generators.adapter_fit import adapter_kind
from synthkit.generators.base import check_dtype, check_without_text
from synthkit.generators.conditioning_check import (
    check_conditioning,
    check_scale,
    check_start,
    check_tokens,
)
from synthkit.generators.families import PIPELINES, family_named, is_known, kinds_of, package_of
from synthkit.generators.model_files import INDEX, linked, read_index_of
from synthkit.recipe.model_content import ADAPTER, loaded_path
from synthkit.recipe.sampler import AUTO, HALVES_FIELDS, STEP_FIELDS
from synthkit.system.environment import FAMILY, NO_DEVICE, choose_device

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from synthkit.generators.base import Generator
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.model import Model
    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe

__all__ = [
    "PIPELINES",
    "check_pieces",
    "check_recipe",
    "check_settings",
    "choose_device_for",
    "embedding_shape",
    "environment_of",
    "family_of",
    "image_edge",
    "load",
    "needs_device",
    "pipeline_class",
]

Told = TypeVar("Told")
# Pixels of an edge; no image format that a release has takes more.
_LARGEST_EDGE = 65_535


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
    """Raise GeneratorError if no family runs a checkpoint, or it lacks what the recipe asks for.

    Nothing is loaded: the pieces are held against each other by the headers of their files.
    """
    family = family_of(checkpoint)
    _check_settings(family, recipe)
    with linked(checkpoint.files) as folder:
        try:
            family.check_files(folder)
            _check_halves(family, folder, recipe.sampler)
            if recipe.sampler.cache is not None:
                family.check_cache(folder, recipe.sampler.cache)
            if METHODS[recipe.conditioning.method].learns and not family.evaluates_halves(folder):
                raise GeneratorError(
                    f"conditioning.method: {recipe.conditioning.method} learns tokens, which a model that "
                    "reads the scale of guidance cannot; use the model that it was distilled from"
                )
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise GeneratorError(
                f"model {checkpoint.name}: a config.json of its parts is missing or damaged: "
                f"{one_line(str(error).replace(f'{folder}/', ''))}"
            ) from error
        if recipe.sampler.size is not None:
            family.check_size(folder, recipe.sampler.size)
    shape = embedding_shape(checkpoint)
    if shape is not None:
        check_conditioning(recipe.conditioning, shape)


def _check_halves(family: type[Generator], folder: Path, sampler: Sampler) -> None:
    for field in HALVES_FIELDS:
        if getattr(sampler, field) is not None and not family.evaluates_halves(folder):
            raise GeneratorError(
                f"sampler.{field}: this model reads the scale of guidance and is evaluated once; remove it"
            )


def check_settings(index: Mapping[str, Any], recipe: Recipe, name: str) -> None:
    """Raise GeneratorError for a setting that no family of a recipe's model has.

    `index` is its model_index.json, `name` the model's name for errors. Nothing else is needed, so nothing is
    downloaded in vain; which kind an adapter is, only its file says.
    """
    pipeline = str(index["_class_name"])
    kinds = kinds_of(pipeline) if recipe.model.adapter is not None else []
    errors = []
    for family in [f"{pipeline}.{kind}" for kind in kinds] or [pipeline]:
        try:
            _check_settings(family_named(family, name), recipe)
        except GeneratorError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def _check_settings(family: type[Generator], recipe: Recipe) -> None:
    if not family.READS_TEXT:
        check_without_text(recipe)
    for field in STEP_FIELDS:
        if getattr(recipe.sampler, field) is not None and field not in family.SAMPLES_BY:
            raise GeneratorError(f"sampler.{field}: this model does not have it; remove it")
    family.check_recipe(recipe)
    check_scale(recipe, weighs_images=family.WEIGHS_IMAGES)
    check_start(recipe, starts_from_images=family.STARTS_FROM_IMAGES)
    check_tokens(recipe, learns_tokens=family.LEARNS_TOKENS)


def check_pieces(index: Mapping[str, Any], model: Model, name: str) -> None:
    """Raise GeneratorError if a recipe's model lacks a piece that its pipeline needs, or has one too many.

    `index` is its model_index.json, `name` the model's name for errors. Only that is asked, so that nothing
    is downloaded in vain.
    """
    pipeline = str(index["_class_name"])
    kinds = kinds_of(pipeline)
    if model.adapter is None and kinds and not is_known(pipeline):
        raise GeneratorError(
            f"model.adapter: is missing; a {pipeline} takes images through an adapter: {' or '.join(kinds)}, "
            "as {id: h94/IP-Adapter, file: …} of docs/generators.md"
        )
    if model.adapter is not None and is_known(pipeline) and not kinds:
        raise GeneratorError(f"model.adapter: a {pipeline} takes images itself; remove model.adapter")
    family = family_named(f"{pipeline}.{kinds[0]}" if model.adapter and kinds else pipeline, name)
    for piece, what in _PIECES.items():
        if piece in family.NEEDS and getattr(model, piece) is None:
            raise GeneratorError(
                f"model.{piece}: is missing; {name} has no {what}: name where it is "
                "(docs/generators.md has examples)"
            )
        if piece not in (*family.NEEDS, *family.MAY_HAVE) and getattr(model, piece) is not None:
            raise GeneratorError(f"model.{piece}: {name} uses its own {what}; remove model.{piece}")


# The pieces of a model besides an adapter, and what they are called.
_PIECES = {"encoder": "image encoder", "unet": "UNet"}


def family_of(checkpoint: Checkpoint) -> type[Generator]:
    """Return the generator class that runs a checkpoint. Raises GeneratorError if there is none."""
    return family_named(_family_name(checkpoint), checkpoint.name)


def _family_name(checkpoint: Checkpoint) -> str:
    adapter = checkpoint.files.get(loaded_path(ADAPTER, ADAPTER))
    pipeline = pipeline_class(checkpoint)
    return pipeline if adapter is None else f"{pipeline}.{adapter_kind(adapter)}"


def pipeline_class(checkpoint: Checkpoint) -> str:
    """Return the name of the pipeline class in a checkpoint's model_index.json.

    Raises GeneratorError if that file is missing or does not say.
    """
    return str(read_index_of(checkpoint.files[INDEX].parent, checkpoint.name)["_class_name"])


def environment_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what a release states of the family beside the environment: the package that brings it.

    Its code decides the images. Empty for a family of synthkit's.
    """
    found = package_of(_family_name(checkpoint))
    return {FAMILY: found} if found else {}


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


def image_edge(checkpoint: Checkpoint, sampler: Sampler) -> int | None:
    """Return the edge in pixels of the images a checkpoint makes; None if its files do not say it.

    Files are not trusted: what no image can have is not said.
    """
    told = sampler.size or _if_told(checkpoint, lambda family, folder: family.image_edge(folder))
    return told if told is not None and 0 < told <= _LARGEST_EDGE else None


def embedding_shape(checkpoint: Checkpoint) -> tuple[int, ...] | None:
    """Return the shape of a checkpoint's embeddings; None if its files do not say it."""
    return _if_told(checkpoint, lambda family, folder: family.embedding_shape_in(folder))


def _if_told(checkpoint: Checkpoint, read: Callable[[type[Generator], Path], Told]) -> Told | None:
    try:
        with linked(checkpoint.files) as folder:
            return read(family_of(checkpoint), folder)
    except (GeneratorError, OSError, ValueError, LookupError, TypeError, ArithmeticError):
        return None
