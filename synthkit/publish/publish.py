"""Publishes a release on the Hub: checks it, sends it, compares what arrived with the manifest, tags it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import semver

from synthkit.errors import HubConflict, HubError, ReleaseError
from synthkit.hub.patience import safe_line
from synthkit.recipe.schema import NO_LICENSE
from synthkit.release.files import MANIFEST
from synthkit.release.manifest import MAX_BYTES, parse_manifest
from synthkit.system.progress import progress
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.hub.repository import RemoteFile, Repository, RepositoryState
    from synthkit.publish.outgoing import Outgoing
    from synthkit.release.manifest import FileFacts, Manifest

# The Hub writes it into every repository: it says which files are stored as large ones.
_WRITTEN_BY_THE_HUB = frozenset({".gitattributes"})
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing a release will do: the paths to send and to delete, on top of the commit `head`.

    `head` is None if there is no repository yet. `done` says that the whole version is published already.
    `notes` are what a user should know beforehand.
    """

    repository: Repository
    outgoing: Outgoing
    head: str | None
    private: bool
    send: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    done: bool = False

    @property
    def bytes_to_send(self) -> int:
        """The bytes of the files to send; parts of an upload that was stopped may be on the Hub already."""
        return sum(self.outgoing.facts[path].bytes for path in self.send)


def check_release(release: Path, manifest: Manifest) -> None:
    """Raise ReleaseError if a release is a preview, has no licence, or is not what its manifest says."""
    if manifest.partial is not None:
        raise ReleaseError(f"{release}: is a preview, not a release: build it without --limit")
    if manifest.license == NO_LICENSE:
        raise ReleaseError(
            f"{release}: its card names no licence: set license in the recipe (cc-by-4.0, other …) "
            "and build again; no image is made anew"
        )
    refuse_damaged(release, manifest, "build it again before publishing")


def prepare(repository: Repository, outgoing: Outgoing, *, private: bool) -> Publication:
    """Compare the release with the repository, and change nothing.

    Raises HubError for anything that would keep the release from being published there.
    """
    repository.check_account()
    publication = _compare(repository, outgoing, private=private)
    if not publication.done:
        repository.check_card(outgoing.card)
    return publication


def publish(publication: Publication) -> Publication:
    """Send what is missing, compare what arrived with the manifest, and tag it; return what was done.

    After a stop at any moment, the next call goes on. The tag is set only once all of the release is there.
    Raises HubError if something else arrived than was sent, ReleaseError if a file changed meanwhile.
    """
    if publication.head is None:
        publication.repository.create(private=publication.private)
        publication = _again(publication)
    for _ in range(_ATTEMPTS - 1):
        try:
            _carry_out(publication)
        except HubConflict:
            publication = _again(publication)
        else:
            return publication
    _carry_out(publication)
    return publication


def target(release: Path, manifest: Manifest, repo_id: str | None) -> str:
    """Return the repository to publish to: `repo_id`, or else the recipe's. Raises HubError without one."""
    named = repo_id or manifest.repo_id
    if named is None:
        raise HubError(
            f"{release}: names no repository; say where: synthkit publish {release} ORGANISATION/NAME "
            "(or set hub.repo_id in the recipe)"
        )
    return named


def _compare(repository: Repository, outgoing: Outgoing, *, private: bool) -> Publication:
    """Find what the repository lacks. Raises HubError if this version cannot go there."""
    state = repository.state()
    if state is None:
        others = tuple(
            f"{repository.repo_id}: is a {kind} on the Hub, too; the data set goes beside it"
            for kind in repository.other_kinds()
        )
        return Publication(repository, outgoing, None, private, tuple(outgoing.facts), notes=others)
    if outgoing.tag in state.branches:
        raise HubError(
            f"{repository.repo_id}: has a branch called {outgoing.tag}, and the tag could be taken for it; "
            "rename the branch"
        )
    if outgoing.tag in state.tags:
        _check_same(repository, outgoing)
        return Publication(repository, outgoing, state.head, state.private, done=True)
    _check_newer(repository.repo_id, outgoing, state)
    delete = sorted(state.files.keys() - outgoing.facts.keys() - _WRITTEN_BY_THE_HUB)
    send = [
        path for path, facts in outgoing.facts.items() if not _holds(state.files.get(path), outgoing, facts)
    ]
    notes = _notes(_last_release(repository, state), repository, state, send, delete)
    return Publication(
        repository, outgoing, state.head, state.private, tuple(send), tuple(delete), tuple(notes)
    )


def _again(publication: Publication) -> Publication:
    return _compare(publication.repository, publication.outgoing, private=publication.private)


def _check_same(repository: Repository, outgoing: Outgoing) -> None:
    version, where = outgoing.tag, repository.repo_id
    files, ours = repository.files(version), outgoing.manifest.to_json()
    theirs = files.get(MANIFEST)
    if theirs is None or theirs.bytes != len(ours) or repository.read(MANIFEST, version, len(ours)) != ours:
        raise HubError(
            f"{where}: {version} is published already, with other content; a version never changes: "
            "raise its version and build again"
        )
    for fault in _differences(repository, outgoing, version, files):
        raise HubError(f"{where}: {version} on the Hub is not what its manifest says: {fault}")


def _check_newer(where: str, outgoing: Outgoing, state: RepositoryState) -> None:
    """Raise HubError unless the version is higher than every published one, so that the latest is it."""
    published = [tag for tag in state.tags if tag.startswith("v") and semver.Version.is_valid(tag[1:])]
    latest = max(published, key=lambda tag: semver.Version.parse(tag[1:]), default=None)
    if latest is not None and semver.Version.parse(outgoing.manifest.version) <= latest[1:]:
        raise HubError(
            f"{where}: {outgoing.tag} is not higher than {latest}, which is published; "
            "raise its version and build again"
        )


def _last_release(repository: Repository, state: RepositoryState) -> Manifest | None:
    """Return the manifest in the newest commit, tagged or not; None if there is none that can be read."""
    manifest = state.files.get(MANIFEST)
    if manifest is None or manifest.bytes > MAX_BYTES:
        return None
    with suppress(ReleaseError):
        return parse_manifest(MANIFEST, repository.read(MANIFEST, state.head, manifest.bytes))
    return None


def _notes(
    last: Manifest | None, repository: Repository, state: RepositoryState, send: list[str], delete: list[str]
) -> Iterator[str]:
    """Yield what will be deleted or replaced although no published version keeps it.

    Raises HubError if files would be deleted that did not come with a release.
    """
    released = {file.path: file for file in last.files} if last else {}
    foreign = [path for path in delete if path not in released]
    if foreign:
        some = ", ".join(map(safe_line, foreign[:3]))
        raise HubError(
            f"{repository.repo_id}: holds files that no release brought ({some}); "
            "delete them there, or publish to another repository"
        )
    if last is not None and f"v{last.version}" not in state.tags:
        yield f"replaces {last.name} {last.version}, which was sent but never tagged"
    for path in sorted({*send} & state.files.keys() - {MANIFEST}):
        if not _is_released(repository, state, path, released.get(path)):
            yield f"replaces {path}, which no release brought; the repository's history keeps it"


def _is_released(repository: Repository, state: RepositoryState, path: str, facts: FileFacts | None) -> bool:
    if facts is None or state.files[path].bytes != facts.bytes:
        return False
    return (state.files[path].sha256 or _sha256(repository, facts, state.head)) == facts.sha256


def _holds(remote: RemoteFile | None, outgoing: Outgoing, facts: FileFacts) -> bool:
    """Return whether the repository has this very file, by SHA-256, or by git's hash if it is small."""
    if remote is None or remote.bytes != facts.bytes:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == facts.sha256
    content = outgoing.contents[facts.path]
    data = content if isinstance(content, bytes) else content.read_bytes()
    return remote.git_oid == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 (git's)


def _carry_out(publication: Publication) -> None:
    repository, outgoing = publication.repository, publication.outgoing
    if publication.done:
        return
    if publication.head is None:
        raise HubError(f"{repository.repo_id}: was made, but cannot be seen; run the same command again")
    commit = _commit(publication, publication.head)
    for fault in _differences(repository, outgoing, commit, repository.files(commit)):
        raise HubError(
            f"{repository.repo_id}: what arrived is not the release: {fault}; {outgoing.tag} was not set: "
            "run the same command again"
        )
    repository.tag(outgoing.tag, commit, f"{outgoing.manifest.name} {outgoing.manifest.version}")


def _commit(publication: Publication, head: str) -> str:
    """Send files in one commit; return it, or the newest commit if there is nothing to change."""
    repository, outgoing = publication.repository, publication.outgoing
    if not publication.send and not publication.delete:
        return head
    with progress("uploading", publication.bytes_to_send / 1e3, unit="kB") as advance:
        upload = repository.upload(
            {path: outgoing.contents[path] for path in publication.send}, lambda count: advance(count / 1e3)
        )
    for path, sha256 in upload.sha256.items():
        if sha256 != outgoing.facts[path].sha256:
            raise ReleaseError(
                f"{path}: changed since it was verified; nothing was published: build the release again"
            )
    message = f"{outgoing.manifest.name} {outgoing.manifest.version}"
    return repository.commit(upload, publication.delete, message, head)


def _differences(
    repository: Repository, outgoing: Outgoing, revision: str, remote: Mapping[str, RemoteFile]
) -> Iterator[str]:
    """Yield how the files of a revision differ from the release: in path, size or SHA-256."""
    for path in sorted(remote.keys() - outgoing.facts.keys() - _WRITTEN_BY_THE_HUB):
        yield f"{safe_line(path)} is there too"
    for path, facts in outgoing.facts.items():
        item = remote.get(path)
        if item is None:
            yield f"{path} is missing"
        elif item.bytes != facts.bytes:
            yield f"{path} has {item.bytes:,} bytes, not {facts.bytes:,}"
        elif (item.sha256 or _sha256(repository, facts, revision)) != facts.sha256:
            yield f"{path} has another SHA-256"


def _sha256(repository: Repository, facts: FileFacts, revision: str) -> str:
    return hashlib.sha256(repository.read(facts.path, revision, facts.bytes)).hexdigest()
