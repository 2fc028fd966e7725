"""Releases on the Hub brought to this machine: looked at where the Hub's client keeps them, or pulled."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import HubError, ReleaseError
from synthkit.hub import KIND, Repository, ask, quieten
from synthkit.manifest import MANIFEST, Manifest, parse_manifest, read_manifest
from synthkit.progress import progress
from synthkit.verify import verify_release

if TYPE_CHECKING:
    from synthkit.manifest import FileFacts

_REFERENCE = re.compile(r"([\w.-]{1,96}/([\w.-]{1,96}))@([\w./+-]{1,100})")
_AT_A_TIME = 8


def find_release(reference: str) -> Path:
    """The folder of a release: a path, or `organisation/name@v1.0.0`, which is downloaded.

    The copy lies in the Hub client's cache. Raises ReleaseError or HubError if there is no such release.
    """
    path = Path(reference)
    if path.exists():
        return path
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ReleaseError(
            f"{reference}: there is no such folder; name a release folder, or one on the Hub as "
            "organisation/name@v1.0.0"
        )
    return _cached(found[1], found[3])


def pull(reference: str, releases: Path) -> tuple[Path, Manifest]:
    """Download a release into a folder named as its repository, verify it, and put it there in one step.

    Stopped at any moment, another call goes on; one that is there already is verified again.
    Raises HubError if it cannot be had, ReleaseError if it is not what its manifest says, or if
    something else is there.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise HubError(f"{reference}: is no release on the Hub: write organisation/name@v1.0.0")
    repo_id, name, revision = found.groups()
    repository = Repository(repo_id)
    commit = repository.commit_of(revision)
    content = repository.read(MANIFEST, commit)
    manifest = parse_manifest(f"{reference}: {MANIFEST}", content)
    target = releases / name
    if target.exists():
        _check_same(target, manifest)
        _check_intact(target, manifest)
        return target, manifest
    arriving = releases / f".{name}.{commit[:12]}.arriving"
    arriving.mkdir(parents=True, exist_ok=True)
    _download(repository, commit, arriving, manifest)
    (arriving / MANIFEST).write_bytes(content)
    shutil.rmtree(arriving / ".cache", ignore_errors=True)
    _check_intact(arriving, manifest)
    arriving.rename(target)
    return target, manifest


def _cached(repo_id: str, revision: str) -> Path:
    import huggingface_hub

    quieten()
    where = f"{repo_id}@{revision}"
    return Path(
        ask(
            where,
            lambda: huggingface_hub.snapshot_download(repo_id, repo_type=KIND, revision=revision),
            reached=False,
        )
    )


def _download(repository: Repository, commit: str, folder: Path, manifest: Manifest) -> None:
    """Every file that the manifest names, several at a time; those that are here are not fetched again."""
    with (
        progress("downloading", sum(file.bytes for file in manifest.files) / 1e3, unit="kB") as advance,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):

        def fetch(file: FileFacts) -> int:
            repository.download(file.path, commit, folder)
            return file.bytes

        try:
            for count in pool.map(fetch, manifest.files):
                advance(count / 1e3)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_same(target: Path, manifest: Manifest) -> None:
    try:
        theirs = read_manifest(target)
    except ReleaseError as error:
        raise ReleaseError(f"{error}; move it away, or choose another --out") from None
    if theirs != manifest:
        raise ReleaseError(
            f"{target}: holds {theirs.name} {theirs.version}, not this release; move it away, or choose "
            "another --out"
        )


def _check_intact(release: Path, manifest: Manifest) -> None:
    total = sum(file.bytes for file in manifest.files)
    with progress("verifying", total / 1e3, unit="kB") as advance:
        faults = verify_release(release, manifest, lambda count: advance(count / 1e3))
    if faults:
        raise ReleaseError(
            f"{release}: {faults[0].path}: {faults[0].reason} ({len(faults)} fault(s) in all); "
            "it is not what its manifest says: remove the folder and pull again"
        )
