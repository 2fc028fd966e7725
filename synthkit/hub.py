"""A dataset repository on the Hugging Face Hub, and what the Hub's errors mean to a user."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from synthkit import __version__
from synthkit.errors import HubError, ReleaseError
from synthkit.hub_errors import LOG_IN, ask, endpoint, limit_waiting, no_hub, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from huggingface_hub import CommitOperationAdd

T = TypeVar("T")
KIND = "dataset"
# Files sent at a time, by as many threads.
_GROUP = 5


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a revision; `sha256` is known of large ones (LFS), the others are kept in git."""

    bytes: int
    git_oid: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """What a repository holds now: the newest commit, its files by path, the names of tags and branches."""

    head: str
    private: bool
    files: dict[str, RemoteFile]
    tags: frozenset[str]
    branches: frozenset[str]


@dataclass(frozen=True, slots=True)
class Upload:
    """Contents that were sent but are in no commit yet, with the SHA-256 of what was sent."""

    additions: list[CommitOperationAdd]
    sha256: dict[str, str]


class Repository:
    """A dataset repository. What passes (429, 5xx, dropped connections) is tried again, with patience.

    Every method raises HubError, in one line, when that does not help; the token is never in it.
    """

    def __init__(self, repo_id: str) -> None:
        from huggingface_hub import HfApi

        prepare_client()
        check_name(repo_id)
        self.repo_id = repo_id
        self._api = HfApi(library_name="synthkit", library_version=__version__)

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{endpoint()}/datasets/{self.repo_id}"

    def check_account(self) -> None:
        """Raise HubError if there is no token, or none that may write to this namespace."""
        from huggingface_hub import get_token

        token = get_token()
        if token is None:
            raise HubError(f"{self.repo_id}: no token: {LOG_IN} to a token with write access")
        if not (token.isascii() and token.isprintable()):
            raise HubError(f"{self.repo_id}: the token has characters that no token has; {LOG_IN} anew")
        account = self._ask(self._api.whoami, reached=False)
        try:
            role = account.get("auth", {}).get("accessToken", {}).get("role")
            names = [account["name"], *(org["name"] for org in account.get("orgs", []))]
        except (AttributeError, KeyError, TypeError):
            raise HubError(no_hub()) from None
        if role == "read":
            raise HubError(f"{self.repo_id}: the token may only read; {LOG_IN} to one with write access")
        namespace = self.repo_id.split("/")[0]
        if account.get("type") == "user" and namespace not in names:
            raise HubError(
                f"{self.repo_id}: {names[0]} is no member of {namespace} on the Hub; "
                f"publish to one of {', '.join(names)}, or {LOG_IN} to another account's token"
            )

    def state(self) -> RepositoryState | None:
        """What the repository holds now, or None if there is none (or none that the token may see)."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self._ask(lambda: self._api.dataset_info(self.repo_id, revision="main"))
        except HubError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return None
            raise
        if info.id != self.repo_id:
            raise HubError(f"{self.repo_id}: is called {info.id} now; publish to that")
        refs = self._ask(lambda: self._api.list_repo_refs(self.repo_id, repo_type=KIND))
        return RepositoryState(
            str(info.sha),
            bool(info.private),
            self.files(str(info.sha)),
            frozenset(tag.name for tag in refs.tags),
            frozenset(branch.name for branch in refs.branches),
        )

    def files(self, revision: str) -> dict[str, RemoteFile]:
        """The files of a revision, by path."""
        from huggingface_hub.hf_api import RepoFile

        listed = self._ask(
            lambda: list(
                self._api.list_repo_tree(self.repo_id, recursive=True, revision=revision, repo_type=KIND)
            )
        )
        return {
            item.path: RemoteFile(item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)
            for item in listed
            if isinstance(item, RepoFile)
        }

    def commit_of(self, revision: str) -> str:
        """The commit that a branch, tag or commit names now."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            info = self._ask(lambda: self._api.dataset_info(self.repo_id, revision=revision), reached=False)
        except HubError as error:
            if not isinstance(error.__cause__, RevisionNotFoundError):
                raise
            refs = self._ask(lambda: self._api.list_repo_refs(self.repo_id, repo_type=KIND))
            there = ", ".join(sorted(tag.name for tag in refs.tags)) or "none"
            raise HubError(f"{self.repo_id}: has no version {revision}; it has {there}") from None
        return str(info.sha)

    def download(self, path: str, revision: str, folder: Path) -> Path:
        """Fetch one file of a revision into a folder, unless it is there; returns where it lies."""
        found = self._ask(
            lambda: self._api.hf_hub_download(
                self.repo_id, path, repo_type=KIND, revision=revision, local_dir=folder
            )
        )
        return Path(found)

    def read(self, path: str, revision: str) -> bytes:
        """The content of one file of a revision."""
        with tempfile.TemporaryDirectory() as folder:
            return self.download(path, revision, Path(folder)).read_bytes()

    def other_kinds(self) -> list[str]:
        """Which other kinds of repository have this name: model, space."""
        return [
            kind
            for kind in ("model", "space")
            if self._ask(lambda kind=kind: self._api.repo_exists(self.repo_id, repo_type=kind))  # type: ignore[misc]
        ]

    def check_card(self, card: str) -> None:
        """Have the Hub check a card's metadata. Raises HubError with what it finds wrong."""
        from huggingface_hub import DatasetCard

        def check() -> None:
            try:
                DatasetCard(card).validate(repo_type=KIND)
            except ValueError as error:
                raise HubError(f"README.md: the Hub refuses the card: {_card_faults(error)}") from error

        self._ask(check)

    def create(self, *, private: bool) -> None:
        """Make the repository, unless it is there."""
        self._ask(lambda: self._api.create_repo(self.repo_id, repo_type=KIND, private=private, exist_ok=True))

    def upload(self, files: Mapping[str, Path | bytes], advance: Callable[[int], None]) -> Upload:
        """Send the contents of large files, those that the Hub has not got; `advance` is told of bytes.

        Nothing shows before `commit`. Raises ReleaseError if a file is not there.
        """
        from huggingface_hub import CommitOperationAdd

        try:
            additions = [CommitOperationAdd(path, content) for path, content in files.items()]
        except ValueError as error:
            raise ReleaseError(f"a file went since it was verified: {one_line(str(error))}") from None
        for group in _groups(additions):
            self._ask(
                lambda group=group: self._api.preupload_lfs_files(self.repo_id, group, repo_type=KIND)  # type: ignore[misc]
            )
            advance(sum(addition.upload_info.size for addition in group))
        return Upload(additions, {item.path_in_repo: item.upload_info.sha256.hex() for item in additions})

    def commit(self, upload: Upload, deleted: Sequence[str], message: str, parent: str) -> str:
        """Add and delete files in one commit upon `parent`; returns the commit.

        Raises HubConflict if the repository's newest commit is another one.
        """
        from huggingface_hub import CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *upload.additions,
            *(CommitOperationDelete(path) for path in deleted),
        ]
        # What the Hub warns of has been seen by `check_card`.
        with warnings.catch_warnings(action="ignore"):
            made = self._ask(
                lambda: self._api.create_commit(
                    self.repo_id, operations, commit_message=message, repo_type=KIND, parent_commit=parent
                )
            )
        return str(made.oid)

    def tag(self, name: str, commit: str, message: str) -> None:
        """Name a commit, for good, and see that it is named. Raises HubConflict if there is such a tag."""
        self._ask(
            lambda: self._api.create_tag(
                self.repo_id, tag=name, tag_message=message, revision=commit, repo_type=KIND
            )
        )
        if self.commit_of(name) != commit:
            raise HubError(f"{self.repo_id}: {name} was not set; run the same command again")

    def _ask(self, call: Callable[[], T], *, reached: bool = True) -> T:
        """A call's answer; with `reached` a server that cannot be reached is tried again, too."""
        return ask(self.repo_id, call, reached=reached)


def check_name(repo_id: str) -> None:
    """Raise HubError for what cannot be a repository's name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
        named = repo_id.count("/") == 1
    except HFValidationError as error:
        raise HubError(f"{repo_id}: is no repository's name: {one_line(str(error))}") from None
    if not named:
        raise HubError(f"{repo_id}: is no repository's name: write organisation/name")


def prepare_client() -> None:
    """The client's warnings and bars off: what matters is in our errors and our bar; no endless waiting."""
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"):
        disable_progress_bars()
    limit_waiting()


def _groups(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    for first in range(0, len(additions), _GROUP):
        yield list(additions[first : first + _GROUP])


def _card_faults(error: ValueError) -> str:
    try:
        found = [str(item["message"]) for item in json.loads(str(error))["errors"]]
    except (ValueError, KeyError, TypeError):
        found = [str(error)]
    return one_line("; ".join(found))
