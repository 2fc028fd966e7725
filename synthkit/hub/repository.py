"""A repository on the Hugging Face Hub: its files and versions, uploads to it and downloads from it."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthkit.errors import HubConflict, HubError, ReleaseError
from synthkit.hub.answers import COMMIT, of_size
from synthkit.hub.client import check_name, prepare_client
from synthkit.hub.patience import LOG_IN, ask, endpoint, no_hub, safe_line
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    Operation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete

T = TypeVar("T")
KIND, MODEL, SPACE = "dataset", "model", "space"
MAIN = "main"
# Files that are sent at a time, each by a thread.
_GROUP = 5


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a revision; large files (LFS) have a `sha256`, the others are in git under `git_oid`."""

    bytes: int
    git_oid: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """The state of a repository: main's newest commit and its files by path, the names of tags, the branches.

    `branches` are the newest commits of branches, by name. `gated` says that files are for those alone who
    were let in.
    """

    head: str
    private: bool
    files: dict[str, RemoteFile]
    tags: frozenset[str]
    branches: dict[str, str]
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """Contents that were sent and are in no commit yet, and the SHA-256 of each by path."""

    additions: list[CommitOperationAdd]
    sha256: dict[str, str]


class Repository:
    """A repository; calls that fail for a passing reason (429, 5xx, dropped connections) are repeated.

    Every method raises HubError if that does not help, or if an answer is one that no Hub gives; the message
    is one line without the token.
    """

    def __init__(self, repo_id: str, kind: str = KIND) -> None:
        prepare_client()
        from huggingface_hub import HfApi

        check_name(repo_id, alone=kind != KIND)
        self.repo_id, self._kind = repo_id, kind
        self._api = HfApi(library_name="synthkit", library_version=__version__)

    @property
    def url(self) -> str:
        """The repository's page."""
        prefix = {MODEL: "", KIND: "datasets/", SPACE: "spaces/"}[self._kind]
        return f"{endpoint()}/{prefix}{self.repo_id}"

    def check_account(self) -> None:
        """Raise HubError if there is no token, or if it does not let this account write to the namespace."""
        from huggingface_hub import get_token

        if get_token() is None:
            raise HubError(f"{self.repo_id}: no token: {LOG_IN} to a token with write access")
        account = self._ask(self._api.whoami, reached=False)
        try:
            role = account.get("auth", {}).get("accessToken", {}).get("role")
            names = [safe_line(owner["name"]) for owner in (account, *account.get("orgs", []))]
        except (AttributeError, KeyError, TypeError):
            raise HubError(no_hub()) from None
        if role == "read":
            raise HubError(f"{self.repo_id}: the token may only read; {LOG_IN} to one with write access")
        namespace = self.repo_id.split("/")[0]
        if account.get("type") == "user" and namespace not in names:
            raise HubError(
                f"{self.repo_id}: {names[0]} is not a member of {namespace} on the Hub; "
                f"publish to one of {', '.join(names[:20])}, or {LOG_IN} to another account's token"
            )

    def state(self) -> RepositoryState | None:
        """Return what the repository holds now; None if there is no repository that the token may see."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self._ask(lambda: self._api.repo_info(self.repo_id, revision=MAIN, repo_type=self._kind))
        except HubError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return None
            raise
        if info.id != self.repo_id:
            raise HubError(f"{self.repo_id}: is called {safe_line(info.id)} now; publish to that")
        refs, head = self._refs(), _commit(info.sha)
        return RepositoryState(
            head,
            bool(info.private),
            self.files(head),
            frozenset(str(tag.name) for tag in refs.tags),
            {str(branch.name): _commit(branch.target_commit) for branch in refs.branches},
            gated=bool(getattr(info, "gated", False)),
        )

    def files(self, revision: str) -> dict[str, RemoteFile]:
        """Return the files of a revision, by path."""
        from huggingface_hub.hf_api import RepoFile

        listed = self._ask(
            lambda: list(
                self._api.list_repo_tree(
                    self.repo_id, recursive=True, revision=revision, repo_type=self._kind
                )
            )
        )
        return {item.path: _remote(item) for item in listed if isinstance(item, RepoFile)}

    def commit_of(self, revision: str) -> str:
        """Return the commit that a branch, a tag or a commit's own name stands for now."""
        return _commit(self._info(revision).sha)

    def readable_commit_of(self, revision: str) -> str:
        """Return the same. Raises HubError for a gated repository that the token may not read.

        Its files may be listed by everybody: without this, that would be told by the first download.
        """
        info = self._info(revision)
        if info.gated:
            self._ask(lambda: self._api.auth_check(self.repo_id, repo_type=self._kind))
        return _commit(info.sha)

    def _info(self, revision: str) -> Any:
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            return self._ask(
                lambda: self._api.repo_info(self.repo_id, revision=revision, repo_type=self._kind),
                reached=False,
            )
        except HubError as error:
            if not isinstance(error.__cause__, RevisionNotFoundError):
                raise
            there = ", ".join(sorted(str(tag.name) for tag in self._refs().tags)) or "none"
            raise HubError(
                f"{self.repo_id}: has no version {revision}; it has {safe_line(there)}"
            ) from error.__cause__

    def download(self, path: str, revision: str, folder: Path | None, size: int, **options: Any) -> Path:
        """Return a file of a revision in a folder, or in the client's cache; fetch it unless it is there.

        Raises HubError as soon as the file turns out not to have `size` bytes. `options` are for the client.
        """
        with of_size(size):
            found = self._ask(
                lambda: self._api.hf_hub_download(
                    self.repo_id, path, repo_type=self._kind, revision=revision, local_dir=folder, **options
                )
            )
        return Path(found)

    def read(self, path: str, revision: str, size: int) -> bytes:
        """Return the content of a file of a revision. Raises HubError if it does not have `size` bytes."""
        with tempfile.TemporaryDirectory() as folder:
            return self.download(path, revision, Path(folder), size).read_bytes()

    def other_kinds(self) -> list[str]:
        """Return the other kinds of repository that have this name, as far as the Hub says: model, space."""

        def exists(kind: str) -> bool:
            try:
                return bool(self._api.repo_exists(self.repo_id, repo_type=kind))
            except Exception:
                # Only a hint in a message depends on it.
                return False

        return [kind for kind in ("model", "space") if exists(kind)]

    def is_untouched(self, head: str) -> bool:
        """Return whether a commit is the first one, which the Hub makes with the repository."""
        commits = self._ask(
            lambda: self._api.list_repo_commits(self.repo_id, repo_type=self._kind, revision=head)
        )
        return len(commits) == 1

    def _refs(self) -> Any:
        return self._ask(lambda: self._api.list_repo_refs(self.repo_id, repo_type=self._kind))

    def check_card(self, card: str) -> None:
        """Have the Hub check a card's metadata. Raises HubError with what it finds wrong."""
        from huggingface_hub import RepoCard

        def check() -> None:
            try:
                RepoCard(card).validate(repo_type=self._kind)
            except ValueError as error:
                raise HubError(f"README.md: the Hub refuses the card: {_card_faults(error)}") from error

        self._ask(check)

    def create(self, *, private: bool) -> None:
        """Make the repository, unless it is there. A Space is made for files that it shows as they are."""
        self._ask(
            lambda: self._api.create_repo(
                self.repo_id,
                repo_type=self._kind,
                private=private,
                exist_ok=True,
                space_sdk="static" if self._kind == SPACE else None,
            )
        )

    def upload(
        self, files: Mapping[str, Path | bytes], advance: Callable[[int], None], branch: str = MAIN
    ) -> Upload:
        """Send the contents of large files that the Hub does not have; call `advance` with numbers of bytes.

        Nobody sees them before `commit`. Raises ReleaseError if a file is missing, HubConflict if the branch
        is not there any more.
        """
        from huggingface_hub import CommitOperationAdd

        try:
            additions = [CommitOperationAdd(path, content) for path, content in files.items()]
        except ValueError as error:
            raise ReleaseError(f"a file was removed after it was verified: {safe_line(error)}") from None
        for group in _groups(additions):
            self._change(
                lambda group=group: self._api.preupload_lfs_files(  # type: ignore[misc]
                    self.repo_id, group, repo_type=self._kind, revision=branch
                )
            )
            advance(sum(addition.upload_info.size for addition in group))
        return Upload(additions, {item.path_in_repo: item.upload_info.sha256.hex() for item in additions})

    def commit(
        self, upload: Upload, deleted: Sequence[str], message: str, parent: str, branch: str = MAIN
    ) -> str:
        """Add and delete files in one commit on `parent`, and return that commit.

        Raises HubConflict if `parent` is not the newest commit of the branch any more.
        """
        return self._commit([*upload.additions, *self._deletions(deleted)], message, parent, branch)

    def copy(
        self, paths: Sequence[str], source: str, deleted: Sequence[str], message: str, parent: str
    ) -> str:
        """Give main files as the revision `source` has them, and delete others, in one commit; return it.

        The contents of large files are on the Hub already and are not sent. Raises HubConflict if `parent` is
        not main's newest commit any more.
        """
        from huggingface_hub import CommitOperationCopy

        copies = [CommitOperationCopy(path, path, src_revision=source) for path in paths]
        return self._commit([*copies, *self._deletions(deleted)], message, parent, MAIN)

    def _deletions(self, paths: Sequence[str]) -> list[CommitOperationDelete]:
        from huggingface_hub import CommitOperationDelete

        try:
            return [CommitOperationDelete(path, is_folder=False) for path in paths]
        except ValueError as error:
            raise HubError(
                f"{self.repo_id}: holds a file whose name is not allowed: {safe_line(error)}"
            ) from None

    def _commit(self, operations: Sequence[Operation], message: str, parent: str, branch: str) -> str:
        # `check_card` has reported the Hub's warnings.
        with warnings.catch_warnings(action="ignore"):
            made = self._change(
                lambda: self._api.create_commit(
                    self.repo_id,
                    operations,
                    commit_message=message,
                    repo_type=self._kind,
                    revision=branch,
                    parent_commit=parent,
                )
            )
        return _commit(made.oid)

    def create_branch(self, name: str, commit: str) -> None:
        """Make a branch that begins at a commit. Raises HubConflict if there is such a branch."""
        self._change(
            lambda: self._api.create_branch(self.repo_id, branch=name, revision=commit, repo_type=self._kind)
        )

    def delete_branch(self, name: str) -> None:
        """Delete a branch, unless it is gone already, and check that it is; a tag keeps its commits.

        Raises HubError if the branch is still there.
        """
        failure = HubError(f"{self.repo_id}: {name} was not deleted; run the same command again")
        try:
            self._ask(lambda: self._api.delete_branch(self.repo_id, branch=name, repo_type=self._kind))
        except HubError as error:
            failure = error
        if name in {str(branch.name) for branch in self._refs().branches}:
            raise failure

    def tag(self, name: str, commit: str, message: str) -> None:
        """Tag a commit, and check that the tag is there. Raises HubConflict if there was such a tag."""
        self._ask(
            lambda: self._api.create_tag(
                self.repo_id, tag=name, tag_message=message, revision=commit, repo_type=self._kind
            )
        )
        if self.commit_of(name) != commit:
            raise HubError(f"{self.repo_id}: {name} was not set; run the same command again")

    def _ask(self, call: Callable[[], T], *, reached: bool = True) -> T:
        """Return a call's answer, by `patience.ask`."""
        return ask(self.repo_id, call, reached=reached)

    def _change(self, call: Callable[[], T]) -> T:
        """Return the answer to a call that changes a branch. Raises HubConflict if the branch is gone."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            return self._ask(call)
        except HubError as error:
            if not isinstance(error.__cause__, RevisionNotFoundError):
                raise
            raise HubConflict(
                f"{self.repo_id}: a branch was removed by someone else meanwhile; run the same command again"
            ) from error.__cause__


def _commit(sha: object) -> str:
    """Return a commit that the Hub names. Raises HubError unless it is 40 digits: folders bear its name."""
    if isinstance(sha, str) and COMMIT.fullmatch(sha):
        return sha
    raise HubError(f"{no_hub()} (it names a commit that is not 40 hexadecimal digits)")


def _remote(item: Any) -> RemoteFile:
    """Return a file in a listing. Raises HubError if it lacks a name, a size or a digest."""
    sha256 = None if item.lfs is None else item.lfs.sha256
    whole = type(item.size) is int and 0 <= item.size < 1 << 60
    if not (whole and all(isinstance(text, str) for text in (item.path, item.blob_id, sha256 or ""))):
        raise HubError(f"{no_hub()} (it lists a file without a name, a size or a digest)")
    return RemoteFile(item.size, item.blob_id, sha256)


def _groups(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    for first in range(0, len(additions), _GROUP):
        yield list(additions[first : first + _GROUP])


def _card_faults(error: ValueError) -> str:
    try:
        found = [str(item["message"]) for item in json.loads(str(error))["errors"]]
    except (ValueError, KeyError, TypeError):
        found = [str(error)]
    return safe_line("; ".join(found))
