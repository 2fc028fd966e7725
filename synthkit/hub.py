"""A dataset repository on the Hugging Face Hub, and what the Hub's errors mean to a user."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from synthkit import __version__
from synthkit.errors import HubConflict, HubError, SynthkitError
from synthkit.progress import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from huggingface_hub import CommitOperationAdd

T = TypeVar("T")
KIND = "dataset"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
# Files sent at a time, by as many threads.
_GROUP = 5
# Seconds between attempts, where the Hub does not say when to come again.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE = 300.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a revision; `sha256` is known of large ones (LFS), the others are kept in git."""

    bytes: int
    git_oid: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """What a repository holds now: the newest commit, its files by path, and the names of its tags."""

    head: str
    private: bool
    files: dict[str, RemoteFile]
    tags: frozenset[str]


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

        quieten()
        check_name(repo_id)
        self.repo_id = repo_id
        self._api = HfApi(library_name="synthkit", library_version=__version__)

    @property
    def url(self) -> str:
        """The repository's page."""
        return f"{self._api.endpoint}/datasets/{self.repo_id}"

    def check_account(self) -> None:
        """Raise HubError if there is no token, or none that may write to this namespace."""
        from huggingface_hub import get_token

        if get_token() is None:
            raise HubError(f"{self.repo_id}: no token: {LOG_IN} to a token with write access")
        account = self._ask(self._api.whoami, reached=False)
        try:
            role = account.get("auth", {}).get("accessToken", {}).get("role")
            names = [account["name"], *(org["name"] for org in account.get("orgs", []))]
        except (AttributeError, KeyError, TypeError):
            raise HubError(_no_hub(self._api.endpoint)) from None
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
        refs = self._ask(lambda: self._api.list_repo_refs(self.repo_id, repo_type=KIND))
        tags = frozenset(tag.name for tag in refs.tags)
        return RepositoryState(str(info.sha), bool(info.private), self.files(str(info.sha)), tags)

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
        return str(
            self._ask(lambda: self._api.dataset_info(self.repo_id, revision=revision), reached=False).sha
        )

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

        Nothing shows before `commit`.
        """
        from huggingface_hub import CommitOperationAdd

        additions = [CommitOperationAdd(path, content) for path, content in files.items()]
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


def ask(where: str, call: Callable[[], T], *, reached: bool = True) -> T:
    """What a call to the Hub returns, tried again while the reason for its failure may pass.

    Raises HubError, told of `where`.
    """
    for pause in (*_PAUSES, None):
        try:
            return call()
        except SynthkitError:
            raise
        except Exception as error:
            # The client lets its HTTP library's and hf_xet's own errors through.
            if pause is None or not _may_pass(error, reached=reached):
                raise _explained(error, where) from (None if _leaks(error) else error)
            seconds = min(_retry_after(error) or pause, _LONGEST_PAUSE)
            print(f"{where}: {_reason(error)}; trying again in {duration(seconds)}", file=sys.stderr)
            time.sleep(seconds)
    raise AssertionError("the last attempt returns or raises")


def check_name(repo_id: str) -> None:
    """Raise HubError for what cannot be a repository's name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
        named = repo_id.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise HubError(
            f"{repo_id}: is no repository's name: it is organisation/name, of letters, digits, -, _ and ."
        )


def quieten() -> None:
    """The client's warnings and bars off: what matters is in our errors and our bar."""
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    huggingface_hub.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings(action="ignore"):
        disable_progress_bars()


def _groups(additions: Sequence[CommitOperationAdd]) -> Iterator[list[CommitOperationAdd]]:
    for first in range(0, len(additions), _GROUP):
        yield list(additions[first : first + _GROUP])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _response(error: Exception) -> Any:
    """The Hub's answer that an error is about, if there was one."""
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return next((answer for answer in answers if answer is not None), None)


def _may_pass(error: Exception, *, reached: bool) -> bool:
    response = _response(error)
    if response is not None:
        return response.status_code in _PASSING or _expired(response)
    kinds = {type(cause) for cause in _causes(error)}
    names = {kind.__name__ for kind in kinds}
    if "ConnectError" in names:
        return reached
    if names & {"UnsupportedProtocol", "InvalidURL"}:
        return False
    # hf_xet raises Python's own.
    by_xet = kinds & {ConnectionError, TimeoutError, RuntimeError}
    return bool(by_xet) or "httpx2" in {kind.__module__.split(".")[0] for kind in kinds}


def _expired(response: Any) -> bool:
    """An upload's address is good for some hours; the next attempt asks for a new one."""
    return response.status_code == 403 and "expired" in response.text.lower()


def _retry_after(error: Exception) -> float | None:
    value = getattr(_response(error), "headers", {}).get("Retry-After", "")
    return float(value) if value.isdecimal() else None


def _explained(error: Exception, where: str) -> HubError:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        OfflineModeIsEnabled,
        RevisionNotFoundError,
    )

    if isinstance(error, OfflineModeIsEnabled):
        return HubError(f"{where}: HF_HUB_OFFLINE is set; unset it to reach the Hub")
    response = _response(error)
    if response is None:
        if isinstance(error, (ValueError, KeyError, TypeError, AttributeError)):
            return HubError(_no_hub(constants.ENDPOINT))
        return HubError(
            f"{where}: {constants.ENDPOINT} cannot be reached ({_reason(error)}); "
            "check the network and HF_ENDPOINT, and run the same command again"
        )
    status = response.status_code
    if status in (409, 412):
        return HubConflict(f"{where}: was changed by someone else meanwhile; run the same command again")
    if isinstance(error, GatedRepoError):
        return HubError(f"{where}: is gated: accept its terms on the Hub, and {LOG_IN}")
    if isinstance(error, RevisionNotFoundError):
        return HubError(f"{where}: the repository has no such version")
    if isinstance(error, EntryNotFoundError):
        return HubError(f"{where}: lacks a file that every release has: it is no release, or not a whole one")
    hints = {
        401: f"the Hub does not accept the token, or there is none, or no such repository; {LOG_IN}",
        403: f"the token may not do this; {LOG_IN} to one with write access",
        404: f"is not on the Hub, or private; {LOG_IN}",
    }
    hint = hints.get(status, f"{_reason(error)}; run the same command again, it goes on where this stopped")
    return HubError(f"{where}: {hint}")


def _no_hub(endpoint: str) -> str:
    return f"{endpoint}: does not answer as a Hub does; check HF_ENDPOINT"


def _reason(error: Exception) -> str:
    response = _response(error)
    if response is not None:
        return f"the Hub answers {response.status_code} ({response.reason_phrase})"
    root = list(_causes(error))[-1] if not str(error) else error
    return "the connection failed" if _leaks(error) else f"{type(root).__name__}: {_line(str(root))}"


def _leaks(error: Exception) -> bool:
    """Whether the text of an error holds the token: some HTTP libraries quote headers they refuse."""
    from huggingface_hub import get_token

    token = get_token()
    return token is not None and any(token in str(cause) for cause in _causes(error))


def _card_faults(error: ValueError) -> str:
    try:
        found = [str(item["message"]) for item in json.loads(str(error))["errors"]]
    except (ValueError, KeyError, TypeError):
        found = [str(error)]
    return _line("; ".join(found))


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
