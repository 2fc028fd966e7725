"""Checks what a manifest says of the model: its files give its content, and the recipe names both.

Whether a model of this content made the images, only a replay shows.
"""

from __future__ import annotations

import re
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING

from synthkit.recipe.model_content import content_sha256
from synthkit.recipe.portable import portable_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.recipe.model import Model
    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import PartFacts
    from synthkit.release.manifest import Manifest

# The role of a file that belongs to no component.
_PIPELINE = "pipeline"
_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_FILE = re.compile(r"[\w.+-]{1,200}(/[\w.+-]{1,200}){0,7}", re.ASCII)


def own_faults(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the model's files, whatever the recipe: their order, names and content."""
    if manifest.format_version == 1:
        return
    parts, generator = manifest.generator.parts, manifest.generator
    files = [part.file for part in parts]
    if files != sorted(set(files)):
        yield "names the model's files twice or out of order"
    for part in parts:
        if not _is_plausible(part):
            yield f"names {part.file!r:.80} as {part.role!r:.64} of the model, which no model has"
    content = content_sha256((part.file, part.sha256) for part in parts)
    if content != generator.revision:
        yield f"says generator.revision is {generator.revision:.16}, its parts have {content[:16]}"


def _is_plausible(part: PartFacts) -> bool:
    """Return whether a file lies in the folder of its role, or in none."""
    folders = PurePosixPath(part.file).parts[:-1]
    plain = _FILE.fullmatch(part.file) and _ROLE.fullmatch(part.role) and ".." not in folders
    return bool(plain) and folders == (() if part.role == _PIPELINE else (part.role,))


def against_recipe(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield what a manifest says of the model differently from its recipe."""
    generator, model = manifest.generator, recipe.model
    for name, said, wanted in _pairs(manifest, model):
        if said != wanted:
            yield f"says generator.{name} is {said!s:.64}, by the recipe it is {wanted!s:.64}"
    known, name = _names_of_model(recipe), generator.name
    if known and known.isdisjoint({name, portable_path(name)}):
        yield f"says generator.name is {name!s:.64}, the recipe's is {model.id:.64}"


def _pairs(manifest: Manifest, model: Model) -> Iterator[tuple[str, str, str]]:
    """Yield the names of facts, what the manifest says, and what follows from the recipe."""
    generator, stated = manifest.generator, model.license or ""
    yield "dtype", generator.dtype, model.dtype
    if manifest.format_version == 1:
        yield "revision", generator.revision, model.revision or ""
        return
    yield "revision", generator.revision, model.sha256 or ""
    yield "license", generator.license, stated
    for number, part in enumerate(generator.parts):
        yield f"parts.{number}.repository", part.repository, generator.name
        yield f"parts.{number}.revision", part.revision, model.revision or ""
        yield f"parts.{number}.license", part.license, stated


def _names_of_model(recipe: Recipe) -> set[str]:
    """Return the names that a manifest may give the recipe's model.

    A built-in model or a repository has its id, a folder the last part of its path. The set is empty for a
    path without a name, such as `.`.
    """
    model = recipe.model.id
    if PurePath(model).name in ("", "..") or portable_path(model) == "root":
        return set()
    return {model, PurePath(portable_path(model)).name}
