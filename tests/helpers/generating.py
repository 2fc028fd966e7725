"""Generators for tests: a checkpoint loaded on the CPU, set by hand instead of by a recipe file."""

from __future__ import annotations

from typing import Any

from synthkit.generators import load
from synthkit.generators.checkpoint import Checkpoint
from synthkit.recipe.arithmetic import STOCK, Arithmetic
from synthkit.recipe.families import DigitsSourceConfig
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe


def recipe_of(
    sampler: Sampler, *, dtype: str = "float32", arithmetic: Arithmetic = STOCK, prompt: str = "{name}"
) -> Recipe:
    """Return a recipe that says how a model is sampled and computes."""
    model = Model.model_validate({"id": "builtin:tiny-unclip-digits", "dtype": dtype})
    return Recipe(
        name="test",
        source=DigitsSourceConfig(kind="digits"),
        prompt=prompt,
        synthetic_per_class=1,
        target_per_class=None,
        model=model,
        sampler=sampler,
        arithmetic=arithmetic,
    )


def load_on_cpu(checkpoint: Checkpoint, sampler: Sampler, **more: Any) -> Any:
    """Return the generator of a checkpoint; `Any`, because tests look at what only a family has."""
    return load(checkpoint, recipe_of(sampler, **more), "cpu")
