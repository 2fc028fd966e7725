"""The cache of the Hub's client: files of a repository that are there, and files that are fetched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import HubError
from synthkit.hub.answers import COMMIT
from synthkit.hub.patience import safe_line
from synthkit.hub.repository import MODEL, Repository
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_AT_A_TIME = 8


def cached(
    repo_id: str, revision: str | None, kind: str, patterns: Sequence[str] | None = None
) -> Path | None:
    """Return the cache's folder of a revision, which is named by its commit, or None; do not ask the Hub.

    Raises HubError if no repository can have this name.
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
        raise HubError(f"{repo_id}: cannot be the name of a repository: {safe_line(error)}") from None
    folder = Path(found)
    # The commit of a tag is read from a file in the cache, into which an answer of the Hub was written.
    inside = Path(constants.HF_HUB_CACHE).resolve() in folder.resolve().parents
    return folder if inside and COMMIT.fullmatch(folder.name) else None


def snapshots(repo_id: str, kind: str) -> list[Path]:
    """Return the cache's folders of all revisions of a repository, each named by its commit."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=kind) / "snapshots"
    return sorted(path for path in folder.glob("*") if COMMIT.fullmatch(path.name) and path.is_dir())


def fetch(repository: Repository, sizes: Mapping[str, int], revision: str, commit: str) -> Path:
    """Return the cache's folder of a commit with these files in it; download those that are missing.

    `sizes` are in bytes, by path. The client remembers that `revision` names the commit. Raises HubError if
    it names another one by now, or if a file has another size.
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
    """Return the cache's folder of a model with the files that match, each of the size that the Hub lists."""
    repository, revision = Repository(repo_id, MODEL), revision or "main"
    commit, sizes = model_files(repository, revision, patterns)
    return fetch(repository, sizes, revision, commit)


def model_files(repository: Repository, revision: str, patterns: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Return the commit of a model's revision, and the sizes in bytes of its files that match.

    Raises HubError if no file does.
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
    """Return the folder below which a file lies as `path`."""
    return file.parents[path.count("/")]


def _reporting(advance: Callable[[int], None]) -> type:
    """Return a class of progress bars, as the client wants one, that reports the bytes that come in."""

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
            """Ignore the bytes of Xet's packing; `update` gets those of files."""

        def set_postfix_str(self, *_: object, **__: object) -> None:
            pass

        set_transfer_postfix_str = set_postfix_str

        def close(self) -> None:
            pass

    return Bar
