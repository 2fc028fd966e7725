"""Find a model's files, and which model exactly they are: built in, in a local folder, or on the Hub.

A model is what its files are, whatever it is called and wherever they lie (`model_files.py` says which files
count). Where a recipe names that content, any copy will do: that at `model.id`, or at one of `model.mirrors`.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import GeneratorError, HubError
from synthkit.generators.hub_copy import HubCopy
from synthkit.generators.model_card import license_of
from synthkit.generators.model_files import differences, files_of, listed, read_index_of
from synthkit.generators.model_hashes import FileContent, contents
from synthkit.generators.model_place import BUILTIN, CONTENT, Missing, Place, Unusable, folder_at, places_of
from synthkit.hub.client import is_repository_id
from synthkit.hub.patience import offline
from synthkit.recipe.model_content import content_sha256
from synthkit.system.files import sha256_of
from synthkit.system.known_hashes import KnownHashes
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synthkit.recipe.model import Model

__all__ = [
    "BUILTIN",
    "Checkpoint",
    "Part",
    "content_revision",
    "find_local",
    "locate",
    "on_the_hub",
    "pinned",
]

# The files that a folder's content was once taken from.
_ONCE = ("*.json", "*.txt", "*.safetensors")


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
    """A model that can be loaded: its name and revision, as records state them, and its folder.

    The revision is the SHA-256 over its files, the parts. `commit` and `license` are empty if unknown.
    """

    name: str
    revision: str
    folder: Path
    parts: tuple[Part, ...] = ()
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


class Offer(NamedTuple):
    """A model that the Hub has and this machine has not: where it is, at which commit, how many bytes."""

    name: str
    commit: str
    bytes: int


def locate(
    model: Model, known: KnownHashes | None = None, stated: Mapping[str, str] | None = None
) -> Checkpoint:
    """Find the model that a recipe names: on this machine, else on the Hub, from which it is downloaded.

    `known` remembers the hashes of files. `stated` are the SHA-256 of the model's files by path, if a release
    states them: an error about another model then says which file differs. Raises GeneratorError if there is
    no such model, or if its content is not the one that the recipe pins.
    """
    search = _Search(model, known or KnownHashes(), stated or {})
    found = search.here() or search.on_the_hub()
    if found is None:
        raise search.error()
    search.tell(found)
    return found.checkpoint


def find_local(model: Model, known: KnownHashes | None = None) -> Checkpoint | None:
    """Return the model if it is on this machine, else None; the network is not used.

    Raises GeneratorError if what is here is another model, or none, and the Hub cannot have it either.
    """
    search = _Search(model, known or KnownHashes(), {})
    found = search.here(also_a_branch=True)
    if found is None and search.has_another() and not search.hub_places():
        raise search.error()
    return found and found.checkpoint


def on_the_hub(model: Model) -> Offer:
    """Return the first copy of a model that the Hub offers; nothing large is downloaded.

    Raises GeneratorError if there is none, or none that may be read.
    """
    search = _Search(model, KnownHashes(), {})
    if not search.hub_places():
        search.here()
    for place in search.hub_places():
        copy = search.copy_at(place)
        if copy is not None:
            return Offer(place.name, copy.commit, copy.bytes)
    raise search.error()


def pinned(model: Model, checkpoint: Checkpoint) -> Model:
    """Return a recipe's model with all that was found out about it: its content, commit and licence.

    With it, any copy of the files gives the same release. A folder is named so that it is not taken for a
    repository on the Hub.
    """
    is_folder = is_repository_id(model.id) and folder_at(model.id).is_dir()
    return model.model_copy(
        update={
            "id": f"./{model.id}" if is_folder else model.id,
            "revision": checkpoint.commit or None,
            "sha256": checkpoint.revision,
            "license": checkpoint.license or None,
        }
    )


def content_revision(folder: Path) -> str:
    """Return the SHA-256 over the relative names and contents of all files of a folder that a model may have.

    Releases of format 1 name a model in a folder by it, and so do feature spaces. Raises GeneratorError if a
    folder or a pipe has the name of a file.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _ONCE for path in folder.rglob(pattern)):
        if path.exists() and not path.is_file():
            raise GeneratorError(f"model.id: {path} is not a file, though its name is that of a model's file")
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


class _Found(NamedTuple):
    place: Place
    checkpoint: Checkpoint


class _Search:
    """One search for a model: places are tried in order, and why one will not do is kept for the error."""

    def __init__(self, model: Model, known: KnownHashes, stated: Mapping[str, str]) -> None:
        self._model, self._known, self._stated = model, known, stated
        self._places = places_of(model)
        self._errors: dict[Place, GeneratorError] = {}

    def here(self, *, also_a_branch: bool = False) -> _Found | None:
        """Return a copy on this machine; that of a branch, which may move, only if that is asked for."""
        also_a_branch |= self._model.sha256 is not None or offline()
        for place in self._places:
            try:
                folders = self._folders(place, also_a_branch=also_a_branch)
            except GeneratorError as error:
                self._errors[place] = error
                continue
            for folder in folders:
                try:
                    return _Found(place, self._read(place, folder))
                except GeneratorError as error:
                    self._errors[place] = error
        return None

    def _folders(self, place: Place, *, also_a_branch: bool) -> list[Path]:
        """Return the folders of this machine that a place may stand for. Raises Unusable for an odd name."""
        if place.folder is not None:
            return [place.folder]
        if not place.may_be_on_the_hub:
            raise place.missing()
        if not also_a_branch and not place.is_commit:
            return []
        return place.in_cache(whatever_revision=self._model.sha256 is not None)

    def on_the_hub(self) -> _Found | None:
        """Download a copy, the first whose content is the pinned one as far as the Hub states it."""
        for place in self.hub_places():
            copy = self.copy_at(place)
            if copy is None:
                continue
            try:
                return _Found(place, self._read(place, copy.download()))
            except HubError as error:
                self._errors[place] = place.not_had(error)
            except GeneratorError as error:
                self._errors[place] = error
        return None

    def hub_places(self) -> list[Place]:
        """Return the places that may be repositories of the Hub."""
        return [place for place in self._places if _may_be_on_the_hub(place)]

    def copy_at(self, place: Place) -> HubCopy | None:
        """Return what a repository offers; None, with the reason kept, if that will not do."""
        try:
            if offline():
                raise HubError("HF_HUB_OFFLINE is set")
            copy = HubCopy(place.name, place.revision)
            if self._model.sha256 is not None:
                self._check(place, copy.stated())
        except HubError as error:
            # That another model is in the cache says more.
            self._errors.setdefault(place, place.not_had(error))
        except GeneratorError as error:
            self._errors[place] = error
        else:
            return copy
        return None

    def has_another(self) -> bool:
        """Return whether something lies at a place of this machine that will not do."""
        return any(not isinstance(error, Missing) for error in self._errors.values())

    def error(self) -> GeneratorError:
        """Return why there is no model: of a single place its own error, of several a line about each."""
        if len(self._places) == 1:
            return self._errors[self._places[0]]
        reasons = "; ".join(self._reasons())
        return GeneratorError(f"model.id: no place has the model that model.sha256 names: {reasons}")

    def tell(self, found: _Found) -> None:
        """Print where the model was found if that is not where the recipe looks first, and why."""
        self._errors.pop(found.place, None)
        if found.place != self._places[0]:
            lines = [*self._reasons(), f"taken from {found.place.name}"]
            print("\n".join(printable(f"model: {line}") for line in lines), file=sys.stderr)

    def _reasons(self) -> list[str]:
        errors = [self._errors[place] for place in self._places if place in self._errors]
        return [getattr(error, "why", str(error)) for error in errors]

    def _read(self, place: Place, folder: Path) -> Checkpoint:
        """Return the model in a folder. Raises GeneratorError if it is another than the pinned one."""
        index = read_index_of(folder, folder.name if place.folder else place.name)
        files = files_of(index, listed(folder, index))
        found = contents(folder, files, self._known)
        content = self._check(place, {path: item.sha256 for path, item in found.items()})
        self._check_revision(place, folder, content)
        return self._checkpoint(place, folder, content, files, found)

    def _check(self, place: Place, found: Mapping[str, str]) -> str:
        """Return the SHA-256 of a model's files. Raises Unusable if the recipe pins another."""
        content, wanted = content_sha256(found.items()), self._model.sha256
        if wanted in (None, content):
            return content
        which = differences(found, self._stated) if self._stated else ""
        raise Unusable(
            "model.sha256",
            f"{place.name} has other content ({which or f'{content[:16]}, not {wanted:.16}'})",
            "; get the files that model.sha256 names",
        )

    def _check_revision(self, place: Place, folder: Path, content: str) -> None:
        """Raise GeneratorError if a folder is not what `model.revision` names, as it may for a folder."""
        revision = place.revision
        # A commit says where the files came from; with `sha256` it says nothing of a folder.
        is_commit = self._model.sha256 is not None and not CONTENT.fullmatch(revision or "")
        if place.folder is None or is_commit or revision in (None, content):
            return
        if revision != content_revision(folder):
            raise GeneratorError(
                f"model.revision: {place.name} is {content} here, not {revision}: "
                "these are other weights; get those the recipe names, or drop model.revision"
            )

    def _checkpoint(
        self,
        place: Place,
        folder: Path,
        content: str,
        files: Mapping[str, str],
        found: Mapping[str, FileContent],
    ) -> Checkpoint:
        name, commit, license = self._name(), self._commit(place, folder), self._license(folder)
        parts = tuple(
            Part(role, name, commit, path, found[path].bytes, found[path].sha256, license)
            for path, role in files.items()
        )
        return Checkpoint(name, content, folder, parts, commit, license)

    def _name(self) -> str:
        """Return the name in records: that of a built-in model or repository, or the last part of a path."""
        own = self._places[0]
        if own.name.startswith("builtin:") or (is_repository_id(own.name) and _may_be_on_the_hub(own)):
            return own.name
        return folder_at(own.name).name

    def _commit(self, place: Place, folder: Path) -> str:
        """Return the commit that the recipe names; where it leaves all open, the one that was found."""
        own = self._places[0]
        if own.is_commit and own.revision:
            return own.revision
        return folder.name if self._model.sha256 is None and place.folder is None else ""

    def _license(self, folder: Path) -> str:
        """Return the licence that the recipe states; where it leaves all open, that of the card."""
        if self._model.license is not None or self._model.sha256 is not None:
            return self._model.license or ""
        return license_of(folder)


def _may_be_on_the_hub(place: Place) -> bool:
    try:
        return place.may_be_on_the_hub
    except GeneratorError:
        return False
