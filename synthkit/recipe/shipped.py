"""The recipes that ship: inside the package in a wheel, beside it in a clone."""

from __future__ import annotations

from pathlib import Path

from synthkit.errors import RecipeError, did_you_mean

# `synthkit init` fills it in; it is not listed among the recipes.
_TEMPLATE = "template"


def folder() -> Path:
    """Return the folder that holds them."""
    inside = Path(__file__).parents[1] / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


def template() -> Path:
    """Return the recipe that `synthkit init` begins with."""
    return folder() / f"{_TEMPLATE}.yaml"


def names() -> list[str]:
    """Return the names of the shipped recipes: those of their files, without the ending."""
    return sorted(path.stem for path in folder().glob("*.yaml") if path.stem != _TEMPLATE)


def find(name: str) -> Path:
    """Return the file of a shipped recipe. Raises RecipeError with the nearest name if there is none."""
    if name not in names():
        raise RecipeError(
            f"--from {name}: no recipe of this name comes with synthkit{did_you_mean(name, names())}; "
            "`synthkit recipes` lists them"
        )
    return folder() / f"{name}.yaml"


def how_to_get(path: Path) -> str:
    """Return how to get a missing file, as the end of a sentence, if a shipped recipe has its name."""
    name = path.stem
    if name not in names():
        return ""
    mine = name.replace("_", "-")
    return f"; {name} comes with synthkit: `synthkit init {mine} --from {name}` writes {mine}.yaml"
