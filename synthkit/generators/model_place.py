"""Where a recipe says that a piece of its model may be had: at its `id`, and at its `mirrors` after it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import GeneratorError, HubError
from synthkit.generators.hub_copy import all_in_cache, in_cache
from synthkit.hub.answers import COMMIT
from synthkit.hub.client import is_repository_id
from synthkit.hub.patience import offline, other_hub

if TYPE_CHECKING:
    from synthkit.generators.model_pieces import Wanted

BUILTIN = {
    "tiny-unclip-digits": Path(__file__).parent / "tiny_unclip_digits",
    "tiny-unclip-glyphs": Path(__file__).parent / "tiny_unclip_glyphs",
    "flat-colours": Path(__file__).parent / "flat_colours",
}
CONTENT = re.compile(r"[0-9a-f]{64}")
_BUILTIN = "builtin:"
_REVISION = re.compile(r"[0-9A-Za-z_./-]{1,100}")


class Unusable(GeneratorError):
    """A place has no model, or another one; `why` says so without the recipe's field and without advice."""

    def __init__(self, field: str, why: str, advice: str = "") -> None:
        super().__init__(f"{field}: {why}{advice}")
        self.why = why


class Missing(Unusable):
    """There is no folder of a name that no repository can have."""


@dataclass(frozen=True, slots=True)
class Place:
    """A built-in model, a folder, or a repository of the Hub with the revision that is asked for.

    `field` is the field of the recipe that names it.
    """

    name: str
    revision: str | None
    field: str

    @property
    def folder(self) -> Path | None:
        """The folder on this machine; None if the place may be a repository. Raises Unusable."""
        if self.name.startswith(_BUILTIN):
            folder = BUILTIN.get(self.name.removeprefix(_BUILTIN))
            if folder is None:
                raise Unusable(
                    self.field, f"there is no built-in model {self.name}", f"; there is {_builtin_models()}"
                )
            return folder
        folder = folder_at(self.name)
        return folder if folder.is_dir() else None

    @property
    def may_be_on_the_hub(self) -> bool:
        """Whether the place may be a repository: not if its revision is the content of a folder."""
        is_content = self.revision is not None and CONTENT.fullmatch(self.revision)
        return is_repository_id(self.name) and not is_content and self.folder is None

    def in_cache(self, sign: str, *, whatever_revision: bool) -> list[Path]:
        """Return the repository's folders in the Hub's cache that have a file; the network is not used.

        That of the revision comes first; others are there where whatever has the right content will do.
        """
        return (all_in_cache if whatever_revision else in_cache)(self.name, self.revision, sign)

    @property
    def _piece(self) -> str:
        """The name of the piece in the recipe."""
        return self.field.rpartition(".")[0]

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit, which does not move."""
        return COMMIT.fullmatch(self.revision or "") is not None

    def missing(self) -> Missing:
        """Return the error for a name that is neither a folder's nor one that a repository can have."""
        others = f" or a built-in model ({_builtin_models()})" if self._piece == "model" else ""
        return Missing(
            self.field,
            f"there is no folder {self.name}",
            f"; name a folder{',' if others else ' or'} a Hub repository (organisation/name){others}",
        )

    def not_had(self, error: HubError) -> Unusable:
        """Return why a repository cannot be had from the Hub, and what to do."""
        why, advice = self._cause(error)
        return Unusable(self.field, f"{self.name} {why}", f"; {advice}")

    def not_downloaded(self, error: HubError) -> Unusable:
        """Return why a download stopped, and that the next one goes on."""
        return Unusable(
            self.field,
            f"not all of {self.name} was downloaded: {str(error).removeprefix(f'{self.name}: ')}",
            "; the files that are here whole are not fetched again",
        )

    def no_room(self, error: OSError) -> Unusable:
        """Return the error for a disk that does not take a download."""
        from huggingface_hub import constants

        return Unusable(
            self.field,
            f"not all of {self.name} was downloaded: {error.strerror or error}",
            f"; make room in {constants.HF_HUB_CACHE}, or set HF_HOME to a folder on another disk: the files "
            "that are there whole are not fetched again",
        )

    def _cause(self, error: HubError) -> tuple[str, str]:
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        cause = error.__cause__
        if isinstance(cause, GatedRepoError):
            return "is gated", "accept its terms on the Hub and log in with `hf auth login`"
        if isinstance(cause, RepositoryNotFoundError):
            return (
                "is not on the Hub (withdrawn, renamed, or private and you are not logged in)",
                f"name a copy in {self._piece}.mirrors, "
                f"or point {self._piece}.id at a copy or at a local folder",
            )
        if isinstance(cause, RevisionNotFoundError):
            return f"has no revision {self.revision}", "correct the revision"
        if cause is not None or offline():
            return (
                f"is not on this machine and the Hub cannot be reached ({_kind(cause)}{other_hub()})",
                f"go online once, or point {self._piece}.id at a local folder",
            )
        return f"is not on this machine ({error})", f"point {self._piece}.id at a local folder"


def places_of(wanted: Wanted) -> list[Place]:
    """Return the places of a piece, in the order to try them."""
    piece = wanted.piece
    own = Place(piece.id, piece.revision, f"{wanted.field}.id")
    return [own, *(_mirror(text, f"{wanted.field}.mirrors") for text in piece.mirrors or ())]


def folder_at(text: str) -> Path:
    """Return an absolute path, so that a folder has one name however it is spelt."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 (links stay links)


def _mirror(text: str, field: str) -> Place:
    name, at, revision = text.rpartition("@")
    if at and is_repository_id(name) and _REVISION.fullmatch(revision) and not folder_at(text).is_dir():
        return Place(name, revision, field)
    return Place(text, None, field)


def _builtin_models() -> str:
    return ", ".join(f"{_BUILTIN}{name}" for name in BUILTIN)


def _kind(cause: BaseException | None) -> str:
    return "HF_HUB_OFFLINE is set" if cause is None else type(cause.__cause__ or cause).__name__
