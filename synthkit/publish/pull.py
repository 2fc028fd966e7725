"""Brings releases from the Hub: into the cache of its client to read them, or into a folder (`pull`)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import HubError, ReleaseError, SignatureError
from synthkit.hub.cache import cached, fetch
from synthkit.hub.client import check_name, prepare_client
from synthkit.hub.patience import NOT_HERE, offline
from synthkit.hub.repository import KIND, Repository
from synthkit.release.files import MANIFEST, SIGNATURE, row_of
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import MAX_BYTES, Manifest, near_release, parse_manifest, read_manifest
from synthkit.release.signature import MAX_BYTES as MAX_SIGNATURE_BYTES
from synthkit.release.signature import read_signature
from synthkit.system.files import remove, sha256_of
from synthkit.system.progress import progress
from synthkit.verification.manifest import misnamed_files
from synthkit.verification.signature import misfit
from synthkit.verification.verify import refuse_damaged, verify_with_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.hub.repository import RemoteFile
    from synthkit.release.facts import FileFacts
    from synthkit.verification.signature import Signer

_REFERENCE = re.compile(r"([\w.-]{1,96}/([\w.-]{1,96}))@((?!/|.*\.\.)[\w./+-]{1,100})")
_AT_A_TIME = 8
_PULL_AGAIN = "it is not what its manifest says: remove the folder and pull again"


class _Described(NamedTuple):
    """What a repository says of a release: the manifest, its bytes, and those of its signature, if any."""

    manifest: Manifest
    content: bytes
    signature: bytes | None


class Pulled(NamedTuple):
    """A release that is here, and who signed it, if that was asked."""

    folder: Path
    manifest: Manifest
    signed_by: str | None


def find_release(reference: str, only: Sequence[str] = ()) -> Path:
    """Return the folder of a release: a path, or `organisation/name@v1.0.0`, which is downloaded.

    Of a release on the Hub, the manifest, its signature if there is one, and the files are fetched that
    `only` names as the rows of `release/files.py` do, by default all files. The copy lies in the cache of the
    Hub's client. Raises ReleaseError or HubError if there is no such release.
    """
    path = Path(reference)
    if ReleaseFolder.at(path).is_here():
        return path
    if _REFERENCE.fullmatch(reference) is None:
        raise ReleaseError(
            f"{reference}: there is no such folder{near_release(path)}; name a release folder, or one on the "
            "Hub as organisation/name@v1.0.0"
        )
    return fetch_release(reference, only)


def fetch_release(reference: str, only: Sequence[str] = ()) -> Path:
    """Return the folder of a release on the Hub as `find_release` does, whatever folders are here."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ReleaseError(f"{reference}: is not a release on the Hub: write organisation/name@v1.0.0")
    repo_id, _, revision = found.groups()
    prepare_client()
    if offline():
        return _here(repo_id, revision)
    repository = Repository(repo_id)
    commit = repository.commit_of(revision)
    manifest, content, signature = _describe(reference, repository, commit)
    wanted = {file.path: file.bytes for file in manifest.files if not only or _is_one_of(file.path, only)}
    if signature is not None:
        wanted[SIGNATURE] = len(signature)
    return fetch(repository, {MANIFEST: len(content), **wanted}, revision, commit)


def _is_one_of(path: str, names: Sequence[str]) -> bool:
    row = row_of(path)
    return row is not None and row.name in names


def pull(reference: str, releases: Path, signer: Signer | None = None) -> Pulled:
    """Download a release into a folder named as its repository, verify it, and put it there in one step.

    After a stop at any moment, the next call goes on. A release that is there already is verified again.
    If a signer is given, nothing but the manifest is fetched before its signature is found to be theirs.
    Raises HubError if it cannot be downloaded, ReleaseError if it is not what its manifest says, or if the
    folder holds something else, SignatureError if the signer did not sign it.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise HubError(f"{reference}: is not a release on the Hub: write organisation/name@v1.0.0")
    repository = Repository(found[1])
    commit = repository.commit_of(found[3])
    described = _describe(reference, repository, commit)
    manifest, signed_by = described.manifest, _signed_by(reference, described, signer)
    release = ReleaseFolder(releases / found[2])
    with release.locked():
        if release.path.exists():
            _check_same(release.path, manifest)
            refuse_damaged(release.path, manifest, _PULL_AGAIN)
            if described.signature is not None and read_signature(release.path) is None:
                release.add_signature(manifest, described.signature)
        else:
            arriving = releases / f".{found[2]}.{commit[:12]}.arriving"
            arriving.mkdir(exist_ok=True)
            _bring(repository, commit, arriving, described)
            remove(arriving / ".cache")
            release.put(arriving)
        _remove_arriving(releases, found[2])
    return Pulled(release.path, manifest, signed_by)


def _signed_by(reference: str, described: _Described, signer: Signer | None) -> str | None:
    if signer is None:
        return None
    try:
        return signer.check(described.content, described.signature)
    except SignatureError as error:
        raise SignatureError(f"{reference}: {SIGNATURE} {error}; nothing was fetched") from error


def _bring(repository: Repository, commit: str, arriving: Path, described: _Described) -> None:
    """Download every file and verify it; files that a power cut damaged earlier are fetched again."""
    manifest = described.manifest
    _download(repository, commit, arriving, manifest)
    (arriving / MANIFEST).write_bytes(described.content)
    remove(arriving / SIGNATURE)
    if described.signature is not None:
        (arriving / SIGNATURE).write_bytes(described.signature)
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


def _describe(reference: str, repository: Repository, commit: str) -> _Described:
    """Download the manifest, and its signature if there is one.

    Raises ReleaseError if the manifest names a file that no release has, HubError if it is missing, if the
    repository's files are not what it says, or if the signature is not over it.
    """
    files = repository.files(commit)
    if MANIFEST not in files:
        raise HubError(f"{reference}: is not a release: it has no {MANIFEST}")
    _refuse_large(reference, files, MANIFEST, MAX_BYTES)
    _refuse_large(reference, files, SIGNATURE, MAX_SIGNATURE_BYTES)
    content = repository.read(MANIFEST, commit, files[MANIFEST].bytes)
    manifest = parse_manifest(f"{reference}: {MANIFEST}", content)
    fault = next(misnamed_files(manifest), None)
    if fault is not None:
        raise ReleaseError(f"{reference}: {MANIFEST} {fault}; nothing was fetched")
    for file in manifest.files:
        there = files.get(file.path)
        if there is None or there.bytes != file.bytes or there.sha256 not in (None, file.sha256):
            raise HubError(f"{reference}: {file.path} is not what the manifest says; nothing was fetched")
    signature = None
    if SIGNATURE in files:
        signature = repository.read(SIGNATURE, commit, files[SIGNATURE].bytes)
        reason = misfit(content, signature)
        if reason:
            raise HubError(f"{reference}: {SIGNATURE} {reason}; nothing was fetched")
    return _Described(manifest, content, signature)


def _refuse_large(reference: str, files: Mapping[str, RemoteFile], name: str, limit: int) -> None:
    if name in files and files[name].bytes > limit:
        raise HubError(f"{reference}: {name} is too large to be one")


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
