"""Checks what a manifest says of the model: its files give its content, and the recipe names both.

Whether a model of this content made the images, only a replay shows.
"""

from __future__ import annotations

import re
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING

from synthkit.recipe.model import Adapter, Unet
from synthkit.recipe.model_content import PIPELINE, content_sha256, loaded_path, piece_of, piece_sha256
from synthkit.recipe.portable import portable_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit.recipe.model import Model, Piece
    from synthkit.recipe.schema import Recipe
    from synthkit.release.facts import PartFacts
    from synthkit.release.manifest import Manifest

_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# A recipe's path of an encoder's folder has up to eight names, and a file of it one more.
_FILE = re.compile(r"[\w.+-]{1,200}(/[\w.+-]{1,200}){0,8}", re.ASCII)


def own_faults(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the model's files, whatever the recipe: their order, names and content."""
    if manifest.format_version == 1:
        return
    parts, generator = manifest.generator.parts, manifest.generator
    paths = [loaded_path(part.role, part.file) for part in parts]
    if paths != sorted(set(paths)):
        yield "names the model's files twice or out of order"
    for part in parts:
        if not _is_plausible(part):
            yield f"names {part.file!r:.80} as {part.role!r:.64} of the model, which no model has"
    content = _content(parts)
    if content != generator.revision:
        yield f"says generator.revision is {generator.revision:.16}, its parts have {content[:16]}"


def _is_plausible(part: PartFacts) -> bool:
    """Return whether a file may have a role: one that belongs to no component lies at the top."""
    folders = PurePosixPath(part.file).parts[:-1]
    plain = _FILE.fullmatch(part.file) and _ROLE.fullmatch(part.role) and ".." not in folders
    return bool(plain) and (part.role != PIPELINE or not folders)


def _content(parts: Sequence[PartFacts]) -> str:
    return content_sha256((loaded_path(part.role, part.file), part.sha256) for part in parts)


def against_recipe(manifest: Manifest, recipe: Recipe) -> Iterator[str]:
    """Yield what a manifest says of the model differently from its recipe."""
    generator, model = manifest.generator, recipe.model
    for name, said, wanted in _pairs(manifest, model):
        if said != wanted:
            yield f"says generator.{name} is {said!s:.64}, by the recipe it is {wanted!s:.64}"
    known, name = _names_of(model), generator.name
    if known and known.isdisjoint({name, portable_path(name)}):
        yield f"says generator.name is {name!s:.64}, the recipe's is {model.id:.64}"
    if manifest.format_version > 1:
        yield from _piece_faults(manifest, model)


def _pairs(manifest: Manifest, model: Model) -> Iterator[tuple[str, str, str]]:
    """Yield the names of facts, what the manifest says, and what follows from the recipe."""
    generator = manifest.generator
    yield "dtype", generator.dtype, model.dtype
    if manifest.format_version == 1:
        yield "revision", generator.revision, model.revision or ""
        return
    yield "license", generator.license, model.license or ""
    pieces = model.pieces
    for number, part in enumerate(generator.parts):
        field = piece_of(part.role, part.file, pieces)
        if field not in pieces:
            yield f"parts.{number}.role", part.role, f"none, since it has no {field}"
            continue
        piece = pieces[field]
        if isinstance(piece, Adapter | Unet):
            yield f"parts.{number}.file", part.file, piece.file
        if field == "model":
            yield f"parts.{number}.repository", part.repository, generator.name
            yield f"parts.{number}.file", part.file, loaded_path(part.role, part.file)
        yield f"parts.{number}.revision", part.revision, piece.revision or ""
        yield f"parts.{number}.license", part.license, piece.license or ""


def _piece_faults(manifest: Manifest, model: Model) -> Iterator[str]:
    """Yield where the files of a piece have another content than the recipe names, or another place."""
    pieces = model.pieces
    for field, piece in pieces.items():
        parts = [part for part in manifest.generator.parts if piece_of(part.role, part.file, pieces) == field]
        files = [(loaded_path(part.role, part.file), part.sha256) for part in parts]
        content = piece_sha256(field, files)
        if content != piece.sha256:
            wanted = f"by the recipe it is {piece.sha256!s:.16}"
            yield f"has files of {field} whose SHA-256 is {content:.16}, {wanted}"
        known, names = _names_of(piece), {part.repository for part in parts}
        if len(names) > 1:
            yield f"names several repositories for {field}: {', '.join(sorted(names)):.100}"
        for name in names if known and field != "model" else ():
            if known.isdisjoint({name, portable_path(name)}):
                yield f"says {field} is of {name!s:.64}, the recipe's is {piece.id:.64}"


def _names_of(piece: Piece) -> set[str]:
    """Return the names that a manifest may give a piece of the recipe's model.

    A built-in model or a repository has its id, a folder the last part of its path. The set is empty for a
    path without a name, such as `.`.
    """
    model = piece.id
    if PurePath(model).name in ("", "..") or portable_path(model) == "root":
        return set()
    return {model, PurePath(portable_path(model)).name}
