"""Score files that others handed in: below a folder, or in a data set repository on the Hub.

`hf://datasets/organisation/name` is what fsspec and `datasets` call such a repository. A file that is called
as its release is on the Hub, `my-lab/digits@v1.0.0.parquet`, says which release was scored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit.hub.cache import cached, fetch
from synthkit.hub.client import check_name, prepare_client
from synthkit.hub.patience import NOT_HERE, endpoint, offline
from synthkit.hub.repository import KIND, MAIN, Repository
from synthkit_eval.score_files import HANDED_IN, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.hub.repository import RemoteFile

SCHEME = "hf://datasets/"
_ADDRESS = re.compile(
    re.escape(SCHEME) + r"([\w.-]+/[\w.-]+)(?:@(refs/[\w-]+/[\w.-]+|[\w.+-]+))?((?:/[\w.@+-]+)*)/?", re.ASCII
)
_NAME = re.compile(r"(?:[\w-][\w.@+-]*/){0,4}[\w-][\w.@+-]*\.parquet", re.ASCII)
_RELEASE = re.compile(r"(?:.*/)?([\w.-]{1,96}/[\w.-]{1,96}@[\w.+-]{1,100})\.parquet", re.ASCII)
_MOST_FILES, _MOST_BYTES = 2000, 1 << 30


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A score file: where it lies on this machine, and its name in the leaderboard."""

    path: Path
    name: str

    @property
    def release(self) -> str | None:
        """The release on the Hub that its name states, as `organisation/name@v1.0.0`."""
        found = _RELEASE.fullmatch(self.name)
        return None if found is None else found[1]

    @property
    def owner(self) -> str:
        """Who handed it in: the organisation of its release, or else the first folder of its name."""
        of_folder = self.name.split("/")[0] if "/" in self.name else ""
        return self.release.split("/")[0] if self.release else of_folder


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a leaderboard, a line for each that was passed over, and where they were read.

    `address` is that of the repository's page at the commit, `said` names it; a folder has no address.
    """

    files: list[HandedIn]
    skipped: list[str]
    said: str
    address: str | None = None


def is_address(argument: str) -> bool:
    """Return whether an argument is the address of a repository on the Hub."""
    return argument.startswith("hf://")


def of_folder(folder: Path) -> Place:
    """Return the Parquet files below a folder; links are passed over, since a clone may hold a stranger's."""
    found, skipped = [], []
    for path in sorted(folder.rglob(f"*{TABLE}")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            skipped.append(f"passed over {folder / name}: is a link, or no file")
        elif not name.startswith("."):
            found.append(HandedIn(path, name))
    return Place(found, skipped, str(folder))


def of_repository(address: str) -> Place:
    """Return the score files of a data set repository, each downloaded into the cache of the Hub's client.

    Raises ScoreError for an address that names no repository, or one with more files than a leaderboard has,
    and HubError if it cannot be read.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ScoreError(
            f"{address}: is not the address of scores on the Hub: write {SCHEME}organisation/name, "
            "with @revision and /folder behind it if they are to be read there"
        )
    repo_id, revision, folder = found[1], found[2] or MAIN, (found[3] or "").strip("/")
    prepare_client()
    check_name(repo_id)
    if offline():
        return _kept(address, repo_id, revision, folder)
    repository = Repository(repo_id)
    commit = repository.readable_commit_of(revision)
    listed = {path: file for path, file in repository.files(commit).items() if _is_below(path, folder)}
    sizes, skipped = _wanted(address, listed)
    place = fetch(repository, sizes, revision, commit) if sizes else Path()
    return _place(address, repo_id, commit, [HandedIn(place / path, path) for path in sizes], skipped)


def _kept(address: str, repo_id: str, revision: str, folder: str) -> Place:
    """Return the files that were fetched when the repository was read last, for use offline."""
    place = cached(repo_id, revision, KIND)
    if place is None:
        raise ScoreError(f"{address}: {NOT_HERE}")
    paths = sorted(path.relative_to(place).as_posix() for path in place.rglob(f"*{TABLE}"))
    files = [HandedIn(place / path, path) for path in paths if _is_below(path, folder)]
    told = f"{address}: HF_HUB_OFFLINE is set: these are the files that were fetched last"
    return _place(address, repo_id, place.name, files, [told])


def _place(address: str, repo_id: str, commit: str, files: list[HandedIn], skipped: list[str]) -> Place:
    page = f"{endpoint()}/datasets/{repo_id}/tree/{commit}"
    return Place(files, skipped, f"{address} at commit {commit[:12]}", page)


def _is_below(path: str, folder: str) -> bool:
    return path.endswith(TABLE) and (not folder or path == folder or path.startswith(f"{folder}/"))


def _wanted(address: str, listed: Mapping[str, RemoteFile]) -> tuple[dict[str, int], list[str]]:
    """Return the sizes of the files to fetch, by path, and a line for each other one."""
    sizes: dict[str, int] = {}
    skipped = []
    for path, file in sorted(listed.items()):
        if not _NAME.fullmatch(path) or len(path) > 250:
            skipped.append(
                f"passed over {path[:250]}: no score file may have this name; use letters, digits, _-.@+"
            )
        elif file.bytes > HANDED_IN.bytes:
            skipped.append(f"passed over {path}: has {file.bytes:,} bytes, more than {HANDED_IN.bytes:,}")
        else:
            sizes[path] = file.bytes
    if len(sizes) > _MOST_FILES or sum(sizes.values()) > _MOST_BYTES:
        raise ScoreError(
            f"{address}: holds {len(sizes):,} files of {sum(sizes.values()):,} bytes, more than "
            f"{_MOST_FILES:,} or {_MOST_BYTES:,}; name a folder of it: {SCHEME}organisation/name/FOLDER"
        )
    return sizes, skipped
