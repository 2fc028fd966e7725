"""Checks that a recipe's `conditioning` suits embeddings of a model's shape, before a model is loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS, why_unfit
from synthkit.errors import GeneratorError
from synthkit.levels import lowest_strength, steps_left
from synthkit.recipe.digest import is_set

if TYPE_CHECKING:
    from synthkit.recipe.conditioning import Conditioning
    from synthkit.recipe.schema import Recipe


def check_conditioning(conditioning: Conditioning, shape: tuple[int, ...]) -> None:
    """Raise GeneratorError, with the name of the field, for what embeddings of a shape do not have."""
    if conditioning.drops == "tokens" and len(shape) == 1:
        raise GeneratorError(
            f"conditioning.drops: is tokens, and this model's embedding is a vector of {shape[0]:,} "
            "coordinates without tokens; set it to coordinates"
        )
    why = why_unfit(METHODS[conditioning.method], shape)
    if why:
        others = [name for name, method in METHODS.items() if not why_unfit(method, shape)]
        raise GeneratorError(
            f"conditioning.method: {conditioning.method} takes a vector, or tokens in a grid, and this "
            f"model's {why}; methods that take them: {', '.join(others)}"
        )


def check_scale(recipe: Recipe, *, weighs_images: bool) -> None:
    """Raise GeneratorError for a weight of images that the model does not have, or that is given twice."""
    if recipe.conditioning.scale is None:
        return
    if not weighs_images:
        raise GeneratorError(
            "conditioning.scale: how much the image counts against the text cannot be set for this model; "
            "remove it"
        )
    adapter = recipe.model.adapter
    if adapter is not None and is_set(adapter, "scale"):
        raise GeneratorError(
            f"conditioning.scale: model.adapter.scale is {adapter.scale:g} as well, which says the same of "
            "every image; remove one"
        )


def check_tokens(recipe: Recipe, *, learns_tokens: bool) -> None:
    """Raise GeneratorError for a method whose prompts need tokens that the model cannot learn."""
    if METHODS[recipe.conditioning.method].learns and not learns_tokens:
        raise GeneratorError(
            f"conditioning.method: {recipe.conditioning.method} learns a token of each class, and this model "
            "has no text encoder here that could: use a Stable unCLIP, or Stable Diffusion 1.5 with an "
            "IP-Adapter"
        )


def check_start(recipe: Recipe, *, starts_from_images: bool) -> None:
    """Raise GeneratorError for a method that the model has no way to begin, or that leaves it no step."""
    conditioning, steps = recipe.conditioning, recipe.sampler.steps
    if not METHODS[conditioning.method].starts or conditioning.strength is None:
        return
    if not starts_from_images:
        raise GeneratorError(
            f"conditioning.method: {conditioning.method} begins from a real image, and this model has no "
            "image-to-image way here; use another method, or another model"
        )
    lowest = lowest_strength(conditioning.strength)
    if not steps_left(steps, lowest):
        raise GeneratorError(
            f"conditioning.strength: {lowest:g} of sampler.steps={steps} leaves no step to run; use at least "
            f"{math.ceil(1000 / steps) / 1000:g}, or more steps"
        )
