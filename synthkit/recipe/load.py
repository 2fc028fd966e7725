"""Recipes read from YAML files, with `extends` and `--set`; all errors are reported at once, with lines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit.config import yaml_file
from synthkit.config.yaml_file import FileKind, load_model, model_of, parse
from synthkit.errors import RecipeError
from synthkit.recipe import shipped
from synthkit.recipe.schema import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

_RECIPE = FileKind(
    Recipe,
    what="recipe",
    error=RecipeError,
    line="name: my-release",
    override="conditioning.method=dropout",
    how_to_get=shipped.how_to_get,
)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe in a file, with what it extends and the overrides (`section.field=value`) applied.

    Raises RecipeError with a line for each error: its place, what is wrong, and the nearest name.
    """
    return load_model(path, _RECIPE, overrides)


def recipe_of(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe whose file would have this content, as `load` does."""
    return model_of(content, _RECIPE, overrides)


def load_complete(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a release, as `load` does. Raises RecipeError if it extends another file."""
    if "extends" in parse(path, _RECIPE).data:
        raise RecipeError(f"{path}: extends: a release's recipe stands alone")
    return load(path, overrides)


def content_of(path: Path) -> dict[str, Any]:
    """Return what a recipe or another YAML file of its rules says, with what it extends; no field is checked.

    Raises RecipeError.
    """
    return yaml_file.content_of(path, replace(_RECIPE, what="recipe or study file"))


def text_of(path: Path) -> str:
    """Return the text of a recipe's file, as it is. Raises RecipeError."""
    return yaml_file.text_of(path, _RECIPE)


def files_of(path: Path) -> list[Path]:
    """Return the file of a valid recipe, followed by the files that it extends."""
    return yaml_file.files_of(path, _RECIPE)
