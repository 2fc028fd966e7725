"""The branch on which a release of more than 100 files is put together, in commits of at most 100 changes.

The Hub checks each change of a commit, and gives up after a minute; it recommends 50 to 100 files a commit
(https://huggingface.co/docs/hub/repositories-recommendations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import semver

from synthkit.errors import ReleaseError
from synthkit.publish.compare import WRITTEN_BY_THE_HUB, changes, holds
from synthkit.release.files import SIGNATURE
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from synthkit.hub.repository import Repository
    from synthkit.publish.outgoing import Outgoing

# The most files that one commit adds or deletes, where it can be helped.
AT_ONCE = 100
_PREFIX = "publishing-v"


def branch_of(outgoing: Outgoing) -> str:
    """Return the name of the branch on which a version is put together: `publishing-v1.0.0`."""
    return f"{_PREFIX}{outgoing.manifest.version}"


def leftover(outgoing: Outgoing, branches: Iterable[str]) -> tuple[str, ...]:
    """Return the branches of this version and of lower ones, which are not needed once it is published."""
    versions = {name: name.removeprefix(_PREFIX) for name in branches if name.startswith(_PREFIX)}
    ours = semver.Version.parse(outgoing.manifest.version)
    return tuple(
        sorted(
            name
            for name, version in versions.items()
            if semver.Version.is_valid(version) and ours >= semver.Version.parse(version)
        )
    )


def put_together(repository: Repository, outgoing: Outgoing, head: str, begun: str | None) -> str:
    """Bring the branch to hold the release and nothing else; return its last commit.

    `begun` is the commit at which an earlier publish left the branch: it goes on from there if the files fit.
    Otherwise a new branch begins at `head`, main's newest commit. The manifest is sent last. Raises
    HubConflict if somebody else changes the branch meanwhile.
    """
    branch = branch_of(outgoing)
    if begun is not None and not _fits(repository, outgoing, begun, head):
        repository.delete_branch(branch)
        begun = None
    if begun is None:
        repository.create_branch(branch, head)
    commit = begun or head
    send, delete = changes(outgoing, repository.files(commit))
    parts = [*_parts(send), *_parts(delete)]
    title = f"{outgoing.manifest.name} {outgoing.manifest.version}"
    size = sum(outgoing.facts[path].bytes for path in send)
    with progress("uploading", size / 1e3, unit="kB") as advance:
        for number, part in enumerate(parts, 1):
            message = f"{title}, part {number} of {len(parts)}"
            commit = send_commit(repository, outgoing, part, message, commit, branch, advance)
    return commit


def send_commit(
    repository: Repository,
    outgoing: Outgoing,
    paths: Sequence[str],
    message: str,
    parent: str,
    branch: str,
    advance: Callable[[float], None],
) -> str:
    """Send the release's files among `paths`, and delete the others, in one commit; return it.

    `advance` is called with numbers of kB. Raises ReleaseError if a file changed since it was verified.
    """
    sent = {path: outgoing.contents[path] for path in paths if path in outgoing.facts}
    upload = repository.upload(sent, lambda count: advance(count / 1e3), branch)
    for path, sha256 in upload.sha256.items():
        if sha256 != outgoing.facts[path].sha256:
            raise ReleaseError(
                f"{path}: changed since it was verified; nothing was published: build the release again"
            )
    deleted = [path for path in paths if path not in outgoing.facts]
    return repository.commit(upload, deleted, message, parent, branch)


def _fits(repository: Repository, outgoing: Outgoing, begun: str, head: str) -> bool:
    """Return whether each file of a branch is the release's, or main's.

    Otherwise the branch was begun for another content of this version, or main changed since then. A
    signature does not count: it is another one each time that the same release is signed.
    """
    main = repository.files(head)
    return all(
        path in (*WRITTEN_BY_THE_HUB, SIGNATURE) or remote == main.get(path) or holds(outgoing, path, remote)
        for path, remote in repository.files(begun).items()
    )


def _parts(paths: Sequence[str]) -> list[Sequence[str]]:
    return [paths[first : first + AT_ONCE] for first in range(0, len(paths), AT_ONCE)]
