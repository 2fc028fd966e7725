"""Reading a recipe from YAML: `extends`, `--set`, and every error at once with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.config import yaml_file
from synthkit.config.yaml_file import FileKind, load_model, parse
from synthkit.errors import RecipeError
from synthkit.recipe import shipped
from synthkit.recipe.schema import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_RECIPE = FileKind(
    Recipe,
    what="recipe",
    error=RecipeError,
    line="name: my-release",
    override="conditioning.method=dropout",
    how_to_get=shipped.how_to_get,
)


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, with what it extends and the overrides (`section.field=value`) applied.

    Raises RecipeError with one line for each thing that is wrong, its place and the nearest name.
    """
    return load_model(path, _RECIPE, overrides)


def load_complete(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A release's own recipe: as `load`, but it stands alone, and no other file is read."""
    if "extends" in parse(path, _RECIPE).data:
        raise RecipeError(f"{path}: extends: a release's recipe stands alone")
    return load(path, overrides)


def files_of(path: Path) -> list[Path]:
    """The file of a recipe and those that it extends, of a recipe that can be loaded."""
    return yaml_file.files_of(path, _RECIPE)
