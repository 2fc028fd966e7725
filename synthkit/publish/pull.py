"""Brings releases from the Hub: into the cache of its client to read them, or into a folder (`pull`)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import HubError, ReleaseError
from synthkit.hub.cache import cached, fetch
from synthkit.hub.client import check_name, prepare_client
from synthkit.hub.patience import NOT_HERE, offline
from synthkit.hub.repository import KIND, Repository
from synthkit.release.files import MANIFEST
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import MAX_BYTES, Manifest, parse_manifest, read_manifest
from synthkit.system.files import remove, sha256_of
from synthkit.system.progress import progress
from synthkit.verification.manifest import misnamed_files
from synthkit.verification.verify import refuse_damaged, verify_with_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.release.manifest import FileFacts

_REFERENCE = re.compile(r"([\w.-]{1,96}/([\w.-]{1,96}))@((?!/|.*\.\.)[\w./+-]{1,100})")
_AT_A_TIME = 8
_PULL_AGAIN = "it is not what its manifest says: remove the folder and pull again"


def find_release(reference: str, only: Sequence[str] = ()) -> Path:
    """Return the folder of a release: a path, or `organisation/name@v1.0.0`, which is downloaded.

    Of a release on the Hub, the manifest and the files in `only` are fetched, by default all files. The copy
    lies in the cache of the Hub's client. Raises ReleaseError or HubError if there is no such release.
    """
    path = Path(reference)
    if ReleaseFolder.at(path).is_here():
        return path
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ReleaseError(
            f"{reference}: there is no such folder; name a release folder, or one on the Hub as "
            "organisation/name@v1.0.0"
        )
    repo_id, _, revision = found.groups()
    prepare_client()
    if offline():
        return _here(repo_id, revision)
    repository = Repository(repo_id)
    commit = repository.commit_of(revision)
    manifest, content = _read_manifest(reference, repository, commit)
    wanted = {file.path: file.bytes for file in manifest.files if not only or file.path in only}
    return fetch(repository, {MANIFEST: len(content), **wanted}, revision, commit)


def pull(reference: str, releases: Path) -> tuple[Path, Manifest]:
    """Download a release into a folder named as its repository, verify it, and put it there in one step.

    After a stop at any moment, the next call goes on. A release that is there already is verified again.
    Return its folder and manifest. Raises HubError if it cannot be downloaded, ReleaseError if it is not what
    its manifest says, or if the folder holds something else.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise HubError(f"{reference}: is not a release on the Hub: write organisation/name@v1.0.0")
    repository = Repository(found[1])
    commit = repository.commit_of(found[3])
    manifest, content = _read_manifest(reference, repository, commit)
    release = ReleaseFolder(releases / found[2])
    with release.locked():
        if release.path.exists():
            _check_same(release.path, manifest)
            refuse_damaged(release.path, manifest, _PULL_AGAIN)
        else:
            arriving = releases / f".{found[2]}.{commit[:12]}.arriving"
            arriving.mkdir(exist_ok=True)
            _bring(repository, commit, arriving, manifest, content)
            remove(arriving / ".cache")
            release.put(arriving)
        _remove_arriving(releases, found[2])
    return release.path, manifest


def _bring(repository: Repository, commit: str, arriving: Path, manifest: Manifest, content: bytes) -> None:
    """Download every file and verify it; files that a power cut damaged earlier are fetched again."""
    _download(repository, commit, arriving, manifest)
    (arriving / MANIFEST).write_bytes(content)
    if verify_with_progress(arriving, manifest):
        for file in manifest.files:
            _remove_damaged(arriving / file.path, file)
        _download(repository, commit, arriving, manifest)
        refuse_damaged(arriving, manifest, _PULL_AGAIN)


def _remove_damaged(path: Path, file: FileFacts) -> None:
    if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
        path.unlink()


def _remove_arriving(releases: Path, name: str) -> None:
    """Remove unfinished downloads of this release and of its other versions."""
    begun = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.arriving")
    for path in releases.iterdir():
        if begun.fullmatch(path.name):
            remove(path)


def _read_manifest(reference: str, repository: Repository, commit: str) -> tuple[Manifest, bytes]:
    """Download the manifest; return it and its bytes.

    Raises ReleaseError if it names a file that no release has, HubError if it is missing or if the
    repository's files are not what it says.
    """
    files = repository.files(commit)
    if MANIFEST not in files:
        raise HubError(f"{reference}: is not a release: it has no {MANIFEST}")
    if files[MANIFEST].bytes > MAX_BYTES:
        raise HubError(f"{reference}: {MANIFEST} is too large to be one")
    content = repository.read(MANIFEST, commit, files[MANIFEST].bytes)
    manifest = parse_manifest(f"{reference}: {MANIFEST}", content)
    fault = next(misnamed_files(manifest), None)
    if fault is not None:
        raise ReleaseError(f"{reference}: {MANIFEST} {fault}; nothing was fetched")
    for file in manifest.files:
        there = files.get(file.path)
        if there is None or there.bytes != file.bytes or there.sha256 not in (None, file.sha256):
            raise HubError(f"{reference}: {file.path} is not what the manifest says; nothing was fetched")
    return manifest, content


def _here(repo_id: str, revision: str) -> Path:
    """Return the cached copy of a release, for use offline. Raises HubError if there is none."""
    check_name(repo_id)
    folder = cached(repo_id, revision, KIND)
    if folder is None:
        raise HubError(f"{repo_id}@{revision}: {NOT_HERE}")
    return folder


def _download(repository: Repository, commit: str, folder: Path, manifest: Manifest) -> None:
    """Download every file that the manifest names, several at a time; files that are here are skipped."""
    with (
        progress("downloading", manifest.size / 1e3, unit="kB") as advance,
        ThreadPoolExecutor(_AT_A_TIME) as pool,
    ):

        def one(file: FileFacts) -> tuple[int, bool]:
            there = (folder / file.path).exists()
            repository.download(file.path, commit, folder, file.bytes)
            return file.bytes, there

        try:
            for count, there in pool.map(one, manifest.files):
                (advance.known if there else advance)(count / 1e3)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _check_same(target: Path, manifest: Manifest) -> None:
    """Raise ReleaseError if a folder holds something else than the release with this manifest."""
    try:
        theirs = read_manifest(target)
    except ReleaseError as error:
        raise ReleaseError(f"{error}; move it away, or choose another --out") from None
    if theirs != manifest:
        same = (theirs.recipe_digest, theirs.version) == (manifest.recipe_digest, manifest.version)
        what = "the same images with another card" if same else f"{theirs.name} {theirs.version}"
        raise ReleaseError(f"{target}: holds {what}, not this release; move it away, or choose another --out")
