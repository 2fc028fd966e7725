"""One search for a piece of a model: on this machine, in the cache of the Hub's client, on the Hub."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError, HubError
from synthkit.generators.hub_copy import HubCopy
from synthkit.generators.model_card import license_of
from synthkit.generators.model_files import differences
from synthkit.generators.model_hashes import FileContent, content_revision, contents
from synthkit.generators.model_pieces import FolderListing
from synthkit.generators.model_place import CONTENT, Missing, Place, Unusable, folder_at, places_of
from synthkit.hub.client import is_repository_id
from synthkit.hub.patience import offline
from synthkit.recipe.model_content import piece_sha256
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synthkit.generators.model_pieces import File, Wanted
    from synthkit.system.known_hashes import KnownHashes


@dataclass(frozen=True, slots=True)
class FoundPiece:
    """A piece of a model that is on this machine, in `folder`.

    `field` is its name in a recipe, `name` that in records; `sha256` is its content. `files` and `contents`
    have its files by their paths in the folder that a family loads from. `commit` and `license` are empty if
    unknown.
    """

    field: str
    name: str
    sha256: str
    folder: Path
    files: Mapping[str, File]
    contents: Mapping[str, FileContent]
    commit: str
    license: str

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(content.bytes for content in self.contents.values())


class Search:
    """Tries the places of a piece in order, and keeps for the error why one will not do.

    `stated` are the SHA-256 of the piece's files by path, if a release states them.
    """

    def __init__(self, wanted: Wanted, known: KnownHashes, stated: Mapping[str, str]) -> None:
        self.field = wanted.field
        self._wanted, self._piece = wanted, wanted.piece
        self._known, self._stated = known, stated
        self._places = places_of(wanted)
        self._errors: dict[Place, GeneratorError] = {}
        self._copies: dict[Place, HubCopy | None] = {}
        self._found: FoundPiece | None = None
        self._at: Place | None = None

    def here(self, *, also_a_branch: bool = False) -> FoundPiece | None:
        """Return a copy on this machine; that of a branch, which may move, only if that is asked for."""
        if self._found is not None:
            return self._found
        also_a_branch |= self._piece.sha256 is not None or offline()
        for place in self._places:
            try:
                folders = self._folders(place, also_a_branch=also_a_branch)
            except GeneratorError as error:
                self._errors[place] = error
                continue
            for folder in folders:
                try:
                    return self._take(place, folder)
                except GeneratorError as error:
                    self._errors[place] = error
        return None

    def offer(self) -> tuple[Place, HubCopy] | None:
        """Return the first copy on the Hub whose content is the pinned one as far as the Hub states it.

        Nothing large is downloaded.
        """
        for place in self.hub_places():
            copy = self._copy_at(place)
            if copy is not None:
                return place, copy
        return None

    def downloaded(self) -> FoundPiece | None:
        """Download the first copy on the Hub that turns out to have the pinned content.

        Raises GeneratorError if this machine cannot keep it.
        """
        for place in self.hub_places():
            copy = self._copy_at(place)
            if copy is None:
                continue
            try:
                return self._take(place, copy.download())
            except HubError as error:
                self._errors[place] = place.not_downloaded(error)
            except OSError as error:
                raise place.no_room(error) from None
            except GeneratorError as error:
                self._errors[place] = error
        return None

    def index(self) -> dict[str, Any]:
        """Return what the model_index.json of the copy says that is here, or on the Hub."""
        if self._found is not None and self._at is not None:
            return self._listing(self._at, self._found.folder).index()
        offer = self.offer()
        if offer is None:
            raise self.error()
        return offer[1].index()

    def hub_places(self) -> list[Place]:
        """Return the places that may be repositories of the Hub."""
        return [place for place in self._places if _may_be_on_the_hub(place)]

    def has_another(self) -> bool:
        """Return whether something lies at a place of this machine that will not do."""
        return any(not isinstance(error, Missing) for error in self._errors.values())

    def error(self) -> GeneratorError:
        """Return why there is no piece: of a single place its own error, of several a line about each."""
        if len(self._places) == 1:
            return self._errors[self._places[0]]
        reasons = "; ".join(self._reasons())
        what = "model" if self.field == "model" else self.field.removeprefix("model.")
        return GeneratorError(
            f"{self.field}.id: no place has the {what} that {self.field}.sha256 names: {reasons}"
        )

    def tell(self, found: FoundPiece) -> None:
        """Print where a piece was found if that is not where the recipe looks first, and why."""
        at = self._at
        if at is None or at == self._places[0] or found.field != self.field:
            return
        self._errors.pop(at, None)
        lines = [*self._reasons(), f"taken from {at.name}"]
        print("\n".join(printable(f"{self.field}: {line}") for line in lines), file=sys.stderr)

    def _folders(self, place: Place, *, also_a_branch: bool) -> list[Path]:
        """Return the folders of this machine that a place may stand for. Raises Unusable for an odd name."""
        if place.folder is not None:
            return [place.folder]
        if not place.may_be_on_the_hub:
            raise place.missing()
        if not also_a_branch and not place.is_commit:
            return []
        whatever = self._piece.sha256 is not None
        found = place.in_cache(self._wanted.sign, whatever_revision=whatever)
        return [folder for folder in found if self._is_whole(place, folder)]

    def _is_whole(self, place: Place, folder: Path) -> bool:
        try:
            return self._wanted.is_whole(self._wanted.files(self._listing(place, folder)))
        except GeneratorError:
            return False

    def _listing(self, place: Place, folder: Path) -> FolderListing:
        return FolderListing(folder, folder.name if place.folder is not None else place.name)

    def _copy_at(self, place: Place) -> HubCopy | None:
        """Return what a repository offers; None, with the reason kept, if that will not do."""
        if place in self._copies:
            return self._copies[place]
        self._copies[place] = None
        try:
            if offline():
                raise HubError("HF_HUB_OFFLINE is set")
            copy = HubCopy(place.name, place.revision, self._wanted)
            if self._piece.sha256 is not None:
                self._check(place, copy.stated())
        except HubError as error:
            # That another model is in the cache says more.
            self._errors.setdefault(place, place.not_had(error))
        except GeneratorError as error:
            self._errors[place] = error
        else:
            self._copies[place] = copy
        return self._copies[place]

    def _reasons(self) -> list[str]:
        errors = [self._errors[place] for place in self._places if place in self._errors]
        return [getattr(error, "why", str(error)) for error in errors]

    def _take(self, place: Place, folder: Path) -> FoundPiece:
        """Return the piece in a folder. Raises GeneratorError if it is another than the pinned one."""
        files = self._wanted.files(self._listing(place, folder))
        hashed = contents(folder, [file.path for file in files.values()], self._known, f"{self.field}.id")
        found = {path: hashed[file.path] for path, file in files.items()}
        content = self._check(place, {path: item.sha256 for path, item in found.items()})
        self._check_revision(place, folder, content)
        self._at = place
        self._found = FoundPiece(
            self.field,
            self.name,
            content,
            folder,
            files,
            found,
            self._commit(place, folder),
            self._license(folder),
        )
        return self._found

    def _check(self, place: Place, found: Mapping[str, str]) -> str:
        """Return the SHA-256 of a piece's files. Raises Unusable if the recipe pins another."""
        content, wanted = piece_sha256(self.field, found.items()), self._piece.sha256
        if wanted in (None, content):
            return content
        which = differences(found, self._stated) if self._stated else ""
        raise Unusable(
            f"{self.field}.sha256",
            f"{place.name} has other content ({which or f'{content[:16]}, not {wanted:.16}'})",
            f"; get the files that {self.field}.sha256 names",
        )

    def _check_revision(self, place: Place, folder: Path, content: str) -> None:
        """Raise GeneratorError if a folder is not what `revision` names, as it may for a folder."""
        revision = place.revision
        # A commit says where the files came from; with `sha256` it says nothing of a folder.
        is_commit = self._piece.sha256 is not None and not CONTENT.fullmatch(revision or "")
        if place.folder is None or is_commit or revision in (None, content):
            return
        if revision != content_revision(folder):
            raise GeneratorError(
                f"{self.field}.revision: {place.name} is {content} here, not {revision}: "
                f"these are other weights; get those the recipe names, or drop {self.field}.revision"
            )

    @property
    def name(self) -> str:
        """The name in records: that of a built-in model or repository, or the last part of a path."""
        own = self._places[0]
        if own.name.startswith("builtin:") or (is_repository_id(own.name) and _may_be_on_the_hub(own)):
            return own.name
        return folder_at(own.name).name

    def _commit(self, place: Place, folder: Path) -> str:
        """Return the commit that the recipe names; where it leaves all open, the one that was found."""
        own = self._places[0]
        if own.is_commit and own.revision:
            return own.revision
        return folder.name if self._piece.sha256 is None and place.folder is None else ""

    def _license(self, folder: Path) -> str:
        """Return the licence that the recipe states; where it leaves all open, that of the card."""
        if self._piece.license is not None or self._piece.sha256 is not None:
            return self._piece.license or ""
        return license_of(folder)


def _may_be_on_the_hub(place: Place) -> bool:
    try:
        return place.may_be_on_the_hub
    except GeneratorError:
        return False
