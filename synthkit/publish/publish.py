"""Publishes a release on the Hub: checks it, sends it, compares what arrived with the manifest, tags it.

A release of up to 100 changes is one commit on main, which is tagged. A larger one is put together on a
branch, whose last commit is tagged; then main takes over all of it in one commit, and the branch is deleted.
So neither a tag nor main ever shows a part of a release.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import semver

from synthkit.errors import HubConflict, HubError, ReleaseError
from synthkit.hub.patience import safe_line
from synthkit.hub.repository import MAIN
from synthkit.publish.attempts import in_attempts
from synthkit.publish.branch import AT_ONCE, branch_of, leftover, put_together, send_commit
from synthkit.publish.compare import changes, differences, holds, remote_sha256
from synthkit.recipe.schema import NO_LICENSE
from synthkit.release.files import MANIFEST, SIGNATURE
from synthkit.release.manifest import MAX_BYTES, parse_manifest
from synthkit.release.signature import MAX_BYTES as MAX_SIGNATURE_BYTES
from synthkit.system.progress import progress
from synthkit.verification.signature import misfit
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.hub.repository import RemoteFile, Repository, RepositoryState
    from synthkit.publish.outgoing import Outgoing
    from synthkit.publish.sign import SigningIdentity
    from synthkit.release.facts import FileFacts
    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing a release will do: the paths to send and to delete, on top of main's commit `head`.

    `head` is None if there is no repository yet. `notes` are what a user should know beforehand. `tagged`
    says that the whole version is there under its tag. `begun` is the commit at which an earlier publish left
    the branch of this version; `leftover` are all branches to delete when this version is published. `gated`
    says that only some may read the data set, `latest` is the tag of its highest version.
    """

    repository: Repository
    outgoing: Outgoing
    head: str | None
    private: bool
    send: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tagged: bool = False
    begun: str | None = None
    gated: bool = False
    latest: str | None = None
    leftover: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the whole version is published, and nothing is left to do."""
        return self.tagged and not self.leftover

    @property
    def by_branch(self) -> bool:
        """Whether the release is put together on a branch, as it is too large for one commit."""
        return not self.tagged and len(self.send) + len(self.delete) > AT_ONCE

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


def sign(publication: Publication, identity: SigningIdentity) -> Publication:
    """Return the same with a signature over the manifest that is sent.

    A version that is tagged with a signature keeps it. Raises HubError if it is tagged without one,
    SignatureError if none can be made.
    """
    repository, outgoing = publication.repository, publication.outgoing
    if not publication.tagged:
        signed = outgoing.signed(identity.sign(outgoing.manifest))
        return _compare(repository, signed, private=publication.private)
    if not outgoing.is_signed:
        raise HubError(_without_signature(repository.repo_id, outgoing.tag))
    return publication


def publish(publication: Publication) -> Publication:
    """Send what is missing, compare what arrived with the manifest, and tag it; return what was done.

    After a stop at any moment, the next call goes on. The tag is set only once all of the release is there.
    Raises HubError if something else arrived than was sent, ReleaseError if a file changed meanwhile.
    """
    if publication.head is None:
        publication.repository.create(private=publication.private)
        publication = _again(publication)
    return in_attempts(publication, _carry_out, _again)


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
    left, branch = leftover(outgoing, state.branches), branch_of(outgoing)
    publication = Publication(
        repository,
        outgoing,
        state.head,
        state.private,
        begun=state.branches.get(branch),
        gated=state.gated,
        latest=_latest(state),
        leftover=left,
    )
    if outgoing.tag in state.tags:
        outgoing = _as_published(repository, outgoing)
        publication = replace(publication, outgoing=outgoing, tagged=True)
        if branch not in left or _latest(state) != outgoing.tag:
            return publication
    else:
        _check_newer(repository.repo_id, outgoing, state)
    send, delete = changes(outgoing, state.files)
    notes = tuple(_notes(_last_release(repository, state), repository, state, send, delete))
    if publication.tagged:
        notes = (f"{outgoing.tag} was set by an earlier publish that did not finish", *notes)
    return replace(publication, send=send, delete=delete, notes=notes)


def _again(publication: Publication) -> Publication:
    return _compare(publication.repository, publication.outgoing, private=publication.private)


def _as_published(repository: Repository, outgoing: Outgoing) -> Outgoing:
    """Return the release with the signature that it is tagged with, if it is not signed here.

    Signing again would give other bytes. Raises HubError if something else is tagged than the release.
    """
    version, where = outgoing.tag, repository.repo_id
    files = repository.files(version)
    published = _as_linked(repository, outgoing, files.get(MANIFEST))
    if published is None:
        raise HubError(
            f"{where}: {version} is published already, with other content; a version never changes: "
            "raise its version and build again"
        )
    outgoing = published
    if not outgoing.is_signed:
        outgoing = _with_signature(repository, outgoing, files)
    elif SIGNATURE not in files:
        raise HubError(_without_signature(where, version))
    elif not holds(outgoing, SIGNATURE, files[SIGNATURE]):
        raise HubError(
            f"{where}: {version} is published already, with another signature; a version never changes: "
            "raise its version and build again"
        )
    for fault in differences(repository, outgoing, version, files):
        raise HubError(f"{where}: {version} on the Hub is not what its manifest says: {fault}")
    return outgoing


def _as_linked(repository: Repository, outgoing: Outgoing, theirs: RemoteFile | None) -> Outgoing | None:
    """Return the release as it is published: with or without a link to a page; None if it is neither."""
    if theirs is None or theirs.bytes > MAX_BYTES:
        return None
    manifest = repository.read(MANIFEST, outgoing.tag, theirs.bytes)
    if manifest == outgoing.manifest.to_json():
        return outgoing
    other = outgoing.otherwise
    return other if manifest == other.manifest.to_json() else None


def _with_signature(repository: Repository, outgoing: Outgoing, files: Mapping[str, RemoteFile]) -> Outgoing:
    """Return the release with the signature that its version has on the Hub, if it has one that fits."""
    theirs = files.get(SIGNATURE)
    if theirs is None or theirs.bytes > MAX_SIGNATURE_BYTES:
        return outgoing
    signature = repository.read(SIGNATURE, outgoing.tag, theirs.bytes)
    return outgoing if misfit(outgoing.manifest.to_json(), signature) else outgoing.signed(signature)


def _without_signature(where: str, version: str) -> str:
    return (
        f"{where}: {version} is published already, without a signature; a version never changes: "
        "raise its version, build again and publish that signed"
    )


def _check_newer(where: str, outgoing: Outgoing, state: RepositoryState) -> None:
    """Raise HubError unless the version is higher than every published one, so that the latest is it."""
    latest = _latest(state)
    if latest is not None and semver.Version.parse(outgoing.manifest.version) <= latest[1:]:
        raise HubError(
            f"{where}: {outgoing.tag} is not higher than {latest}, which is published; "
            "raise its version and build again"
        )


def _latest(state: RepositoryState) -> str | None:
    """Return the tag of the highest published version."""
    published = [tag for tag in state.tags if tag.startswith("v") and semver.Version.is_valid(tag[1:])]
    return max(published, key=lambda tag: semver.Version.parse(tag[1:]), default=None)


def _last_release(repository: Repository, state: RepositoryState) -> Manifest | None:
    """Return the manifest in the newest commit, tagged or not; None if there is none that can be read."""
    manifest = state.files.get(MANIFEST)
    if manifest is None or manifest.bytes > MAX_BYTES:
        return None
    with suppress(ReleaseError):
        return parse_manifest(MANIFEST, repository.read(MANIFEST, state.head, manifest.bytes))
    return None


def _notes(
    last: Manifest | None,
    repository: Repository,
    state: RepositoryState,
    send: tuple[str, ...],
    delete: tuple[str, ...],
) -> Iterator[str]:
    """Yield what will be deleted or replaced although no published version keeps it.

    Raises HubError if files would be deleted that did not come with a release.
    """
    released = {file.path: file for file in last.files} if last else {}
    foreign = [path for path in delete if path not in released and (path != SIGNATURE or last is None)]
    if foreign:
        some = ", ".join(map(safe_line, foreign[:3]))
        raise HubError(
            f"{repository.repo_id}: holds files that no release brought ({some}); "
            "delete them there, or publish to another repository"
        )
    if last is not None and f"v{last.version}" not in state.tags:
        yield f"replaces {last.name} {last.version}, which was sent but never tagged"
    for path in sorted({*send} & state.files.keys() - {MANIFEST, SIGNATURE}):
        if not _is_released(repository, state, path, released.get(path)):
            yield f"replaces {path}, which no release brought; the repository's history keeps it"


def _is_released(repository: Repository, state: RepositoryState, path: str, facts: FileFacts | None) -> bool:
    if facts is None or state.files[path].bytes != facts.bytes:
        return False
    return (state.files[path].sha256 or remote_sha256(repository, facts, state.head)) == facts.sha256


def _carry_out(publication: Publication) -> None:
    if publication.done:
        return
    if publication.head is None:
        where = publication.repository.repo_id
        raise HubError(f"{where}: was made, but cannot be seen; run the same command again")
    if not publication.tagged:
        publication = _tag(publication, publication.head)
    _finish(publication, publication.head)


def _tag(publication: Publication, head: str) -> Publication:
    """Send the release, compare what arrived with it, and tag it; return what is left to do."""
    repository, outgoing = publication.repository, publication.outgoing
    commit = _send(publication, head)
    for fault in differences(repository, outgoing, commit, repository.files(commit)):
        raise HubError(
            f"{repository.repo_id}: what arrived is not the release: {fault}; {outgoing.tag} was not set: "
            "run the same command again"
        )
    # Filling a branch takes hours: a higher version may be published by now, or this one by somebody else.
    left = _again(publication) if publication.by_branch else replace(publication, send=(), delete=())
    if not left.tagged:
        repository.tag(outgoing.tag, commit, _title(outgoing))
    return replace(left, tagged=True)


def _send(publication: Publication, head: str) -> str:
    """Send files, in one commit on main or in several on a branch; return the commit that has the release."""
    repository, outgoing = publication.repository, publication.outgoing
    if publication.by_branch:
        return put_together(repository, outgoing, head, publication.begun)
    if not publication.send and not publication.delete:
        return head
    with progress("uploading", publication.bytes_to_send / 1e3, unit="kB") as advance:
        paths = (*publication.send, *publication.delete)
        return send_commit(repository, outgoing, paths, _title(outgoing), head, MAIN, advance)


def _finish(publication: Publication, head: str | None) -> None:
    """Have main show a release that is tagged, and delete branches that are not needed any more."""
    repository, outgoing = publication.repository, publication.outgoing
    if head is not None and (publication.send or publication.delete):
        with _although_published(publication, "main does not show it yet"):
            repository.copy(publication.send, outgoing.tag, publication.delete, _title(outgoing), head)
    for branch in publication.leftover:
        with _although_published(publication, f"the branch {branch} is still there"):
            repository.delete_branch(branch)


@contextmanager
def _although_published(publication: Publication, what: str) -> Iterator[None]:
    """Say in errors that the version is published, and what is missing still."""
    try:
        yield
    except HubConflict:
        raise
    except HubError as error:
        where, tag = publication.repository.repo_id, publication.outgoing.tag
        raise HubError(f"{where}: {tag} is published, but {what}: {error}") from error


def _title(outgoing: Outgoing) -> str:
    return f"{outgoing.manifest.name} {outgoing.manifest.version}"
