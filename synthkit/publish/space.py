"""The page of a release in a static Space of the Hub, beside the data set that it is about.

The Space has two files: `index.html`, the page, and `README.md`, which says what the Space is. It shows the
newest published version; its history keeps the pages of earlier ones. A Space that somebody made for another
purpose is never written to.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import semver
import yaml

from synthkit.errors import HubError
from synthkit.hub.patience import safe_line
from synthkit.hub.repository import SPACE, Repository
from synthkit.publish.attempts import in_attempts
from synthkit.publish.compare import WRITTEN_BY_THE_HUB, is_same
from synthkit.release.facts import FileFacts
from synthkit.release.hub_address import dataset_url, page_space
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.hub.repository import RemoteFile, RepositoryState
    from synthkit.release.manifest import Manifest

PAGE, CARD = "index.html", "README.md"
# What the first commit of a new static Space has beside these two.
_TEMPLATE = frozenset({"style.css"})
# A README.md that is longer was not written here.
_MOST_BYTES = 10_000
_WRITTEN = re.compile(
    r"^The page of \[\S+\]\(\S+\), version (\S+)\. Written by `synthkit publish --page`", re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePublication:
    """What publishing a page will do, on top of main's commit `head`: None if there is no Space yet.

    `latest` is the highest tag of the data set. `newer` is the version that the Space shows, or that the
    data set has, if it is a higher one: then nothing is done.
    """

    repository: Repository
    version: str
    title: str
    contents: Mapping[str, bytes]
    private: bool
    head: str | None = None
    send: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    latest: str | None = None
    newer: str | None = None

    @property
    def done(self) -> bool:
        """Whether the Space shows this page, or is for that of a higher version."""
        return self.newer is not None or (self.head is not None and not self.send and not self.delete)

    @property
    def size(self) -> int:
        """The bytes of the page."""
        return len(self.contents[PAGE])


def prepare_page(
    manifest: Manifest, page: bytes, *, private: bool, latest: str | None = None
) -> PagePublication:
    """Compare the page of a release with what its Space shows, and change nothing.

    `manifest` is the one that is published, which names the data set. Raises HubError if the Space was made
    for another purpose, or cannot have its name.
    """
    contents = {PAGE: page, CARD: _card(manifest)}
    repository = Repository(page_space(str(manifest.repo_id)), SPACE)
    title = f"{manifest.name} {manifest.version}"
    return _compare(
        PagePublication(
            repository=repository,
            version=manifest.version,
            title=title,
            contents=contents,
            private=private,
            send=tuple(contents),
            latest=latest,
        )
    )


def make_space(publication: PagePublication) -> PagePublication:
    """Make the Space, unless it is there. Raises HubError if the token does not allow it."""
    if publication.head is not None or publication.newer is not None:
        return publication
    publication.repository.check_card(publication.contents[CARD].decode())
    publication.repository.create(private=publication.private)
    return _compare(publication)


def publish_page(publication: PagePublication) -> PagePublication:
    """Send the page to its Space in one commit, and compare what arrived; return what was done.

    Raises HubError if something else arrived than was sent.
    """
    return in_attempts(make_space(publication), _send, _compare)


def _compare(publication: PagePublication) -> PagePublication:
    state = publication.repository.state()
    if state is None:
        return _unless_newer(replace(publication, head=None), publication.latest and publication.latest[1:])
    version = _version_shown(publication.repository, state)
    _refuse_foreign(publication.repository, state, version)
    if publication.private and not state.private:
        space = publication.repository
        raise HubError(
            f"{space.repo_id}: the Space for the page is public, and the data set is not: change that "
            f"({space.url}/settings), or publish without a page (--no-page)"
        )
    publication = replace(publication, head=state.head, private=state.private)
    send = [
        path
        for path, content in publication.contents.items()
        if not is_same(content, _facts(path, content), state.files.get(path))
    ]
    delete = state.files.keys() - publication.contents.keys() - WRITTEN_BY_THE_HUB
    publication = replace(publication, newer=None, send=tuple(send), delete=tuple(sorted(delete)))
    return _unless_newer(publication, version, publication.latest and publication.latest[1:])


def _unless_newer(publication: PagePublication, *versions: str | None) -> PagePublication:
    """Return what to do, which is nothing if one of other versions is higher."""
    own = semver.Version.parse(publication.version)
    higher = [version for version in versions if version and semver.Version.parse(version) > own]
    return replace(publication, newer=higher[0], send=(), delete=()) if higher else publication


def _version_shown(repository: Repository, state: RepositoryState) -> str | None:
    """Return the version whose page a Space shows; None if `publish_page` did not write it."""
    card = state.files.get(CARD)
    if card is None or card.bytes > _MOST_BYTES:
        return None
    with suppress(UnicodeDecodeError):
        found = _WRITTEN.search(repository.read(CARD, state.head, card.bytes).decode())
        return found[1] if found and semver.Version.is_valid(found[1]) else None
    return None


def _is_new(repository: Repository, state: RepositoryState) -> bool:
    """Return whether a Space is as the Hub makes a static one, and nobody has changed it since."""
    for path, words in ((CARD, b"sdk: static"), (PAGE, b"your static Space")):
        file = state.files.get(path)
        if file is not None and (
            file.bytes > _MOST_BYTES or words not in repository.read(path, state.head, file.bytes)
        ):
            return False
    return repository.is_untouched(state.head)


def _refuse_foreign(repository: Repository, state: RepositoryState, version: str | None) -> None:
    """Raise HubError if a Space has what neither the Hub nor `publish_page` put there."""
    others = sorted(state.files.keys() - {PAGE, CARD} - _TEMPLATE - WRITTEN_BY_THE_HUB)
    ours = version is not None or _is_new(repository, state)
    if ours and not others:
        return
    what = f"holds files of another purpose ({safe_line(', '.join(others[:3]))})" if others else "is in use"
    raise HubError(
        f"{repository.repo_id}: the Space for the page {what}; rename or delete it on the Hub, or publish "
        "without a page (--no-page)"
    )


def _send(publication: PagePublication) -> None:
    if publication.done:
        return
    repository, head = publication.repository, publication.head
    if head is None:
        raise HubError(
            f"{repository.repo_id}: the Space was made, but cannot be seen; run the same command again"
        )
    files = {path: publication.contents[path] for path in publication.send}
    with progress("uploading the page", sum(map(len, files.values())) / 1e3, unit="kB") as advance:
        upload = repository.upload(files, lambda size: advance(size / 1e3))
    commit = repository.commit(upload, publication.delete, publication.title, head)
    _check_arrived(publication, repository.files(commit))


def _check_arrived(publication: PagePublication, arrived: Mapping[str, RemoteFile]) -> None:
    for path, content in publication.contents.items():
        if not is_same(content, _facts(path, content), arrived.get(path)):
            raise HubError(
                f"{publication.repository.repo_id}: {path} did not arrive as it was sent; run the same "
                "command again"
            )


def _facts(path: str, content: bytes) -> FileFacts:
    return FileFacts(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _card(manifest: Manifest) -> bytes:
    """Return the Space's README.md, with the front matter by which the Hub shows index.html."""
    front: dict[str, Any] = {
        "title": manifest.name,
        "sdk": "static",
        "app_file": PAGE,
        "pinned": False,
        "license": manifest.license,
        "datasets": [manifest.repo_id],
    }
    address = f"{dataset_url(str(manifest.repo_id))}/tree/v{manifest.version}"
    words = (
        f"The page of [{manifest.repo_id}]({address}), version {manifest.version}. Written by `synthkit "
        "publish --page`;\nthe page of the next version replaces it, and what is changed here."
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{words}\n".encode()
