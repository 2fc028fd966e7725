"""recipe.yaml of a release: its recipe, complete and without paths of the machine that built it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from synthkit.errors import RecipeError, ReleaseError
from synthkit.recipe.load import load_complete
from synthkit.recipe.model import PIECES
from synthkit.recipe.portable import unportable
from synthkit.release.files import RECIPE
from synthkit.release.manifest import leads_elsewhere, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.recipe.schema import Recipe

_RECIPE_HEADER = """\
# The recipe of this release, complete: every default filled in, the model pinned.
# Make it again: synthkit build recipe.yaml{options}
"""


def recipe_yaml(data: dict[str, Any], places: Sequence[str]) -> bytes:
    """Return the content of recipe.yaml; `places` are the fields that another machine must set."""
    return (recipe_header(places) + yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).encode()


def recipe_header(places: Sequence[str]) -> str:
    """Return the comment at the top of recipe.yaml, with the command that builds it again."""
    return _RECIPE_HEADER.format(options="".join(f" --set {field}=…" for field in places))


def places_of(recipe: Recipe) -> Iterator[str]:
    """Yield the fields of a recipe that name files and folders of this machine, by their dotted names."""
    yield from (f"source.{field}" for field in recipe.source.places())
    if recipe.retrieval is not None:
        yield from (f"retrieval.source.{field}" for field in recipe.retrieval.source.places())
    if recipe.captions is not None:
        yield "captions.file"


_PIECES = frozenset(f"model.{piece}" for piece in PIECES)
# All that a reader of a release may set in its recipe: where the real images, captions and the model are.
# A file or folder of a piece may have another name in a copy: its content is pinned.
_PLACES = (
    *("source.", "retrieval.source.", "captions.file=", "model.id=", "model.revision=", "model.mirrors="),
    *(
        f"model.{piece}.{place}="
        for piece in PIECES
        for place in ("id", "revision", "mirrors", "file", "folder")
    ),
)


def read_recipe(release: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe that a release was made from; `overrides` say where things are on this machine.

    Raises ReleaseError if the recipe is missing or unreadable, if it names something that a release may
    not name, or if an override sets anything else than a place.
    """
    for override in overrides:
        if not override.startswith(_PLACES):
            raise ReleaseError(
                f"--set {override}: a release's recipe stays as it is; only source.…, retrieval.source.…, "
                "captions.file, model.id and the id of a piece of the model can be set, to say where things "
                "are here"
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
            _check_pieces_are_there(own, overrides)
            return load_complete(path, overrides) if overrides else own
    except RecipeError as error:
        raise ReleaseError(str(error)) from None
    raise ReleaseError(f"{path}: {fault}; nothing was opened: ask whoever made the release")


def _check_pieces_are_there(recipe: Recipe, overrides: Sequence[str]) -> None:
    """Raise ReleaseError for an override that would give the model a piece which it was made without."""
    for override in overrides:
        piece = ".".join(override.split(".")[:2])
        if piece in _PIECES and piece not in recipe.model.pieces:
            raise ReleaseError(f"--set {override}: the model of this release has no {piece}; leave it out")
