"""Find a model's files, and which model exactly they are: built in, in local folders, or on the Hub.

A model is what its files are, whatever it is called and wherever they lie (`model_files.py` says which files
count). Where a recipe names that content, any copy will do: that at `model.id`, or at one of `model.mirrors`.
A model of several pieces has several such places (`model_pieces.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError
from synthkit.generators import check_pieces, check_settings
from synthkit.generators.model_pieces import wanted
from synthkit.generators.model_place import BUILTIN, folder_at
from synthkit.generators.model_search import Search
from synthkit.hub.client import is_repository_id
from synthkit.recipe.model_content import content_sha256
from synthkit.system.known_hashes import KnownHashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from synthkit.generators.hub_copy import HubCopy
    from synthkit.generators.model_search import FoundPiece
    from synthkit.recipe.model import Model, Piece
    from synthkit.recipe.schema import Recipe

    # The SHA-256 of files by path, by the piece that they belong to.
    Stated = Mapping[str, Mapping[str, str]]

__all__ = [
    "BUILTIN",
    "Checkpoint",
    "Offer",
    "Part",
    "find_local",
    "locate",
    "pinned",
    "put_together",
    "survey",
    "to_download",
]


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a model, and the component that it belongs to (`role`).

    `repository`, `revision` (a commit, or empty) and `license` (or empty) are what the recipe says or its
    `model.id` led to, and never where a copy was found: so they are the same for every copy.
    """

    role: str
    repository: str
    revision: str
    file: str
    bytes: int
    sha256: str
    license: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that can be loaded: its name and revision, as records state them, and where its files lie.

    The revision is the SHA-256 over its files, the parts. `commit` and `license`, the base's, are empty if
    unknown. `files` are the places of the parts by their paths in the folder that a family loads from, and
    `pieces` are what was found of each piece, by its name in a recipe.
    """

    name: str
    revision: str
    parts: tuple[Part, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)
    pieces: Mapping[str, FoundPiece] = field(default_factory=dict)
    commit: str = ""
    license: str = ""

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(part.bytes for part in self.parts)

    @property
    def size(self) -> int:
        """The bytes of its weights."""
        return sum(part.bytes for part in self.parts if part.file.endswith(".safetensors"))


@dataclass(frozen=True, slots=True)
class Offer:
    """A piece that the Hub has and this machine has not: where it is, and what it is there."""

    field: str
    name: str
    copy: HubCopy
    stated_license: str

    @property
    def commit(self) -> str:
        """The commit that would be downloaded."""
        return self.copy.commit

    @property
    def bytes(self) -> int:
        """The bytes to download: those of files that an earlier download brought are not counted."""
        return self.copy.bytes_missing

    @property
    def license(self) -> str:
        """The licence that the recipe states, or else the card on the Hub, which is asked for it."""
        return self.stated_license or self.copy.license


def locate(
    model: Model,
    known: KnownHashes | None = None,
    stated: Stated | None = None,
    recipe: Recipe | None = None,
) -> Checkpoint:
    """Find the model that a recipe names: on this machine, else on the Hub, from which it is downloaded.

    `known` remembers the hashes of files. `stated` are the SHA-256 of each piece's files by path, if a
    release states them: an error about another model then says which file differs. Raises GeneratorError if
    there is no such model, if it lacks a piece or has one too many, if its content is not the one that the
    recipe pins, or if it does not have a setting of `recipe`; nothing large is downloaded before all pieces
    are found.
    """
    searches = _searches(model, known, stated)
    here = []
    for search in searches:
        here.append(search.here())
        if here[-1] is None and search.offer() is None:
            raise search.error()
        if search is searches[0]:
            check_pieces(search.index(), model, search.name)
            if recipe is not None:
                check_settings(search.index(), recipe, search.name)
    found = []
    for search, piece_here in zip(searches, here, strict=True):
        piece = piece_here or search.downloaded()
        if piece is None:
            raise search.error()
        search.tell(piece)
        found.append(piece)
    return put_together(found)


def find_local(model: Model, known: KnownHashes | None = None) -> Checkpoint | None:
    """Return the model if all of it is on this machine, else None; the network is not used.

    Raises GeneratorError if what is here is another model, or none, and the Hub cannot have it either.
    """
    found = []
    for search in _searches(model, known):
        piece = search.here(also_a_branch=True)
        if piece is None:
            if search.has_another() and not search.hub_places():
                raise search.error()
            continue
        if piece.field == "model":
            check_pieces(search.index(), model, search.name)
        found.append(piece)
    return put_together(found) if len(found) == len(model.pieces) else None


def survey(model: Model, known: KnownHashes | None = None) -> Iterator[FoundPiece | Offer | GeneratorError]:
    """Yield of each piece what is on this machine, else the first copy that the Hub offers, or why none does.

    Nothing large is downloaded. A model that lacks a piece, or has one too many, ends it.
    """
    for search in _searches(model, known):
        try:
            yield search.here(also_a_branch=True) or _offered(search, model.pieces[search.field])
            if search.field == "model":
                check_pieces(search.index(), model, search.name)
        except GeneratorError as error:
            yield error
            if search.field == "model":
                return


def to_download(model: Model, known: KnownHashes | None = None) -> list[Offer]:
    """Return, of each piece that is not here, the first copy that the Hub offers.

    Raises GeneratorError if a piece is nowhere, or may not be read.
    """
    offers = []
    for found in survey(model, known):
        if isinstance(found, GeneratorError):
            raise found
        if isinstance(found, Offer):
            offers.append(found)
    return offers


def put_together(pieces: Sequence[FoundPiece]) -> Checkpoint:
    """Return the checkpoint that the pieces of a model make up; the base comes first."""
    paths = {path: (piece, file) for piece in pieces for path, file in piece.files.items()}
    parts = {
        path: Part(
            file.role,
            piece.name,
            piece.commit,
            file.path,
            piece.contents[path].bytes,
            piece.contents[path].sha256,
            piece.license,
        )
        for path, (piece, file) in sorted(paths.items())
    }
    base = pieces[0]
    return Checkpoint(
        name=base.name,
        revision=content_sha256((path, part.sha256) for path, part in parts.items()),
        parts=tuple(parts.values()),
        files={path: piece.folder / file.path for path, (piece, file) in paths.items()},
        pieces={piece.field: piece for piece in pieces},
        commit=base.commit,
        license=base.license,
    )


def pinned(model: Model, checkpoint: Checkpoint) -> Model:
    """Return a recipe's model with what was found out about each piece: content, commit and licence.

    With it, any copy of the files gives the same release. A folder is named so that it is not taken for a
    repository on the Hub.
    """
    return model.with_pieces(
        {name: _pinned(piece, checkpoint.pieces[name]) for name, piece in model.pieces.items()}
    )


def _searches(model: Model, known: KnownHashes | None, stated: Stated | None = None) -> list[Search]:
    known, stated = known or KnownHashes(), stated or {}
    return [Search(piece, known, stated.get(piece.field, {})) for piece in wanted(model)]


def _offered(search: Search, piece: Piece) -> Offer:
    offer = search.offer()
    if offer is None:
        raise search.error()
    place, copy = offer
    return Offer(search.field, place.name, copy, piece.license or "")


def _pinned(piece: Piece, found: FoundPiece) -> Piece:
    is_folder = is_repository_id(piece.id) and folder_at(piece.id).is_dir()
    return piece.model_copy(
        update={
            "id": f"./{piece.id}" if is_folder else piece.id,
            "revision": found.commit or None,
            "sha256": found.sha256,
            "license": found.license or None,
        }
    )
