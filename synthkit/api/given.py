"""What users give to the functions, checked; and their errors, each a SynthkitError of one line."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from synthkit.config.words import plain, words
from synthkit.errors import RecipeError, ReleaseError, SynthkitError, told_to_user
from synthkit.hub.environment import faults_set_aside

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.recipe.schema import Recipe

P = ParamSpec("P")
T = TypeVar("T")

GivenPath = str | os.PathLike[str]
# A recipe's file, or what would stand in it.
GivenRecipe = GivenPath | Mapping[str, Any]
# Fields by their dotted names, as in `--set`: {"conditioning.method": "dropout"}.
Overrides = Mapping[str, Any]


def user_errors(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function raise SynthkitError for a fault of the machine too: a full disk, a read-only folder."""

    @functools.wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            with faults_set_aside():
                return function(*arguments, **options)
        except OSError as error:
            raise SynthkitError(told_to_user(error)) from error

    return wrapped


def recipe_of(recipe: GivenRecipe, overrides: Overrides | None) -> Recipe:
    """Return a recipe from its file, or from what would stand in it. Raises RecipeError for every mistake."""
    from synthkit.recipe import load

    changes = words_of(overrides, RecipeError)
    if isinstance(recipe, Mapping):
        return load.recipe_of(recipe, changes)
    return load.load(path_of(recipe, "recipe", RecipeError, "a path or a mapping"), changes)


def words_of(overrides: Overrides | None, error: type[SynthkitError]) -> list[str]:
    """Return overrides as words of `--set`. Raises `error` for anything but plain values by name."""
    if overrides is None:
        return []
    if not isinstance(overrides, Mapping):
        raise error(f'overrides: is {_shown(overrides)}; give a mapping, as {{"seed": 3}}')
    return words(plain(overrides, "overrides", error))


def path_of(given: Any, name: str, error: type[SynthkitError], what: str = "a path") -> Path:
    """Return a path that a user gave as text or as a path. Raises `error` for anything else."""
    if not isinstance(given, str | os.PathLike):
        raise error(f"{name}: is {_shown(given)}; give {what}")
    text = os.fspath(given)
    if not text or "\0" in text:
        raise error(f"{name}: is {_shown(text)}; no file or folder has such a name")
    return Path(text)


def maybe_path(given: Any, name: str, error: type[SynthkitError]) -> Path | None:
    """Return a path as `path_of` does, and None for None."""
    return None if given is None else path_of(given, name, error)


def whole_number(given: Any, name: str, least: int, most: int, error: type[SynthkitError]) -> int:
    """Return a whole number within bounds. Raises `error` for anything else."""
    if isinstance(given, bool) or not isinstance(given, Integral) or not least <= int(given) <= most:
        raise error(f"{name}: is {_shown(given)}; give a whole number from {least:,} to {most:,}")
    # One of NumPy's becomes Python's.
    return int(given)


def number(given: Any, name: str, least: float, most: float, error: type[SynthkitError]) -> float:
    """Return a number within bounds. Raises `error` for anything else."""
    if isinstance(given, bool) or not isinstance(given, Real) or not least <= float(given) <= most:
        raise error(f"{name}: is {_shown(given)}; give a number from {least:,} to {most:,}")
    return float(given)


def text(given: Any, name: str, error: type[SynthkitError]) -> str:
    """Return a text. Raises `error` for anything else."""
    if not isinstance(given, str):
        raise error(f"{name}: is {_shown(given)}; give text")
    return given


def place_of(index: Any, count: int) -> int:
    """Return the place of one of `count` images by its index, from the end if it is negative.

    Raises IndexError if there is none, ReleaseError for anything but a whole number.
    """
    if isinstance(index, bool) or not isinstance(index, Integral):
        raise ReleaseError(
            f"index: is {_shown(index)}; give a whole number, as 3 for the image 000000003, one at a time"
        )
    try:
        return range(count)[int(index)]
    except IndexError:
        raise IndexError(f"there is no image {index:,}: there are {count:,}, from 0") from None


def _shown(given: Any) -> str:
    return f"{given!r:.80}"
