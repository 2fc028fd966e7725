"""recipe.yaml of a release: its recipe, complete and portable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from synthkit.errors import RecipeError, ReleaseError
from synthkit.recipe.load import load_complete
from synthkit.recipe.portable import unportable
from synthkit.release.files import RECIPE
from synthkit.release.manifest import leads_elsewhere, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.recipe.schema import Recipe

_RECIPE_HEADER = """\
# The recipe of this release, complete: every default filled in, the model pinned.
# Make it again: synthkit build recipe.yaml{options}
"""


def recipe_yaml(data: dict[str, Any], places: Sequence[str]) -> bytes:
    """recipe.yaml of a portable recipe; `places` are its source's fields that another machine must set."""
    return (recipe_header(places) + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).encode()


def recipe_header(places: Sequence[str]) -> str:
    """The lines above a release's recipe."""
    return _RECIPE_HEADER.format(options="".join(f" --set source.{field}=…" for field in places))


# What a user of a release may set of its recipe: where the real images and the model are.
_PLACES = ("source.", "model.id=", "model.revision=")


def read_recipe(release: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that a release was made from, with this machine's places set.

    Raises ReleaseError if the release has none that can be read, if it names what a release may not, or if
    more than a place is set.
    """
    for override in overrides:
        if not override.startswith(_PLACES):
            raise ReleaseError(
                f"--set {override}: a release's recipe stays as it is; "
                "only source.… and model.id can be set, to say where things are on this machine"
            )
    path = release / RECIPE
    if not path.is_file():
        raise ReleaseError(f"{path}: is missing; run synthkit verify {release}")
    if path.is_symlink() and leads_elsewhere(release, read_manifest(release), RECIPE):
        raise ReleaseError(f"{path}: is a link to something else than the release's recipe; get it again")
    try:
        own = load_complete(path)
        fault = next(unportable(own), None)
        if fault is None:
            return load_complete(path, overrides) if overrides else own
    except RecipeError as error:
        raise ReleaseError(str(error)) from None
    raise ReleaseError(f"{path}: {fault}; nothing was opened: ask whoever made the release")
