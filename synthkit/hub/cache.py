"""Files of a repository in the cache of the Hub's client: what is there, and what is fetched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import HubError
from synthkit.hub.answers import COMMIT
from synthkit.hub.patience import safe_line
from synthkit.hub.repository import Repository
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MODEL = "model"
_AT_A_TIME = 8


def cached(
    repo_id: str, revision: str | None, kind: str, patterns: Sequence[str] | None = None
) -> Path | None:
    """The cache's folder of a revision, named as its commit, or None; nobody is asked.

    Raises HubError for what cannot be a repository's name.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = huggingface_hub.snapshot_download(
            repo_id,
            repo_type=kind,
            revision=revision,
            allow_patterns=None if patterns is None else list(patterns),
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise HubError(f"{repo_id}: no repository is called so: {safe_line(error)}") from None
    folder = Path(found)
    # The cache's note of what a tag names is a file that an answer was written into.
    inside = Path(constants.HF_HUB_CACHE).resolve() in folder.resolve().parents
    return folder if inside and COMMIT.fullmatch(folder.name) else None


def fetch(repository: Repository, sizes: Mapping[str, int], revision: str, commit: str) -> Path:
    """The cache's folder of a commit, with these files in it; those that are not there are downloaded.

    The client remembers that `revision` names the commit. Raises HubError if it names another one by now,
    or if a file is not of its size.
    """
    first, *others = sizes
    folder = _folder(repository.download(first, revision, None, sizes[first]), first)
    if folder.name != commit:
        raise HubError(f"{repository.repo_id}@{revision}: was changed meanwhile; run the same command again")
    missing = [path for path in others if not (folder / path).exists()]
    total = sum(sizes[path] for path in missing)
    with (
        progress("downloading", total / 1e3, unit="kB") as advance,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):

        def one(path: str) -> None:
            bar = _reporting(lambda count: advance(count / 1e3))
            repository.download(path, commit, None, sizes[path], tqdm_class=bar)

        try:
            for _ in pool.map(one, missing):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return folder


def fetch_model(repo_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The cache's folder of a model, with the files that match; each of the size that the Hub lists."""
    repository, revision = Repository(repo_id, MODEL), revision or "main"
    commit, sizes = model_files(repository, revision, patterns)
    return fetch(repository, sizes, revision, commit)


def model_files(repository: Repository, revision: str, patterns: Sequence[str]) -> tuple[str, dict[str, int]]:
    """The commit of a model's revision, and the sizes of its files that match.

    Raises HubError if none does.
    """
    commit = repository.commit_of(revision)
    sizes = {
        path: file.bytes
        for path, file in repository.files(commit).items()
        if any(fnmatch(path, pattern) for pattern in patterns)
    }
    if not sizes:
        raise HubError(f"{repository.repo_id}: has no file that a model in safetensors is made of")
    return commit, sizes


def _folder(file: Path, path: str) -> Path:
    """The folder that a file lies in as `path`."""
    return file.parents[path.count("/")]


def _reporting(advance: Callable[[int], None]) -> type:
    """A progress bar, as the client wants a class of it, that tells what comes in."""

    class Bar:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int) -> None:
            advance(count)

        def update_transfer(self, count: int) -> None:
            """Of Xet's own packing; the bytes of files are told by `update`."""

        def set_postfix_str(self, *_: object, **__: object) -> None:
            pass

        set_transfer_postfix_str = set_postfix_str

        def close(self) -> None:
            pass

    return Bar
