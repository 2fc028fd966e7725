"""Compares the files of a repository's revision with the release that is sent there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from synthkit.hub.patience import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.hub.repository import RemoteFile, Repository
    from synthkit.publish.outgoing import Outgoing
    from synthkit.release.facts import FileFacts

# The Hub writes it into every repository: it says which files are stored as large ones.
WRITTEN_BY_THE_HUB = frozenset({".gitattributes"})


def changes(outgoing: Outgoing, remote: Mapping[str, RemoteFile]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths to send, and those to delete, that make a release of a revision's files."""
    send = tuple(path for path in outgoing.facts if not holds(outgoing, path, remote.get(path)))
    return send, tuple(sorted(remote.keys() - outgoing.facts.keys() - WRITTEN_BY_THE_HUB))


def holds(outgoing: Outgoing, path: str, remote: RemoteFile | None) -> bool:
    """Return whether a file on the Hub is the release's, by SHA-256, or by git's hash if it is small."""
    facts = outgoing.facts.get(path)
    return facts is not None and is_same(outgoing.contents[path], facts, remote)


def is_same(content: Path | bytes, facts: FileFacts, remote: RemoteFile | None) -> bool:
    """Return whether a file on the Hub has a content: bytes, or those of a path of this machine."""
    if remote is None or remote.bytes != facts.bytes:
        return False
    if remote.sha256 is not None:
        return remote.sha256 == facts.sha256
    data = content if isinstance(content, bytes) else content.read_bytes()
    return remote.git_oid == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 (git's)


def differences(
    repository: Repository, outgoing: Outgoing, revision: str, remote: Mapping[str, RemoteFile]
) -> Iterator[str]:
    """Yield how the files of a revision differ from the release: in path, size or SHA-256."""
    for path in sorted(remote.keys() - outgoing.facts.keys() - WRITTEN_BY_THE_HUB):
        yield f"{safe_line(path)} is there too"
    for path, facts in outgoing.facts.items():
        item = remote.get(path)
        if item is None:
            yield f"{path} is missing"
        elif item.bytes != facts.bytes:
            yield f"{path} has {item.bytes:,} bytes, not {facts.bytes:,}"
        elif (item.sha256 or remote_sha256(repository, facts, revision)) != facts.sha256:
            yield f"{path} has another SHA-256"


def remote_sha256(repository: Repository, facts: FileFacts, revision: str) -> str:
    """Return the SHA-256 of a small file of a revision, which is downloaded for it."""
    return hashlib.sha256(repository.read(facts.path, revision, facts.bytes)).hexdigest()
