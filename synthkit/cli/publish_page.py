"""The page that `synthkit publish --page` puts into a Space beside the data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import HubError
from synthkit.system.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthkit.publish.publish import Publication
    from synthkit.publish.space import PagePublication


def prepare_space(publication: Publication, scores: Sequence[Path], *, sources: bool) -> PagePublication:
    """Make the page of a release as it is published, and compare it with what its Space shows.

    Nothing is sent. Raises ScoreError for a score of another release, HubError for a Space of another
    purpose.
    """
    from synthkit.cli.page import scores_told
    from synthkit.page.release import Published, release_page
    from synthkit.publish.space import prepare_page
    from synthkit.release.places import receive

    outgoing = publication.outgoing
    page = release_page(
        receive(outgoing.folder, outgoing.here),
        scores=scores_told(scores, outgoing.here),
        sources=sources,
        published=Published(outgoing.manifest, outgoing.recipe, outgoing.signature),
    )
    private = publication.private or publication.gated
    return prepare_page(outgoing.manifest, page, private=private, latest=publication.latest)


def send_page(space: PagePublication, publication: Publication) -> None:
    """Send the page of a release that is published, unless its Space shows it, and say so."""
    from synthkit.publish.space import publish_page

    if not space.done:
        try:
            space = publish_page(space)
        except HubError as error:
            where, tag = publication.repository.repo_id, publication.outgoing.tag
            raise HubError(f"{where}: {tag} is published, but its page is not: {error}") from error
        print(_shown(space) if space.newer else f"{space.repository.url}: its page, {_size(space)}")
    else:
        print(_shown(space))
    _print_unlinked(publication)


def print_page(space: PagePublication, publication: Publication) -> None:
    """Say what would be sent to the Space."""
    new = "" if space.head else f" to a Space to be made, {'private' if space.private else 'public'}"
    url = space.repository.url
    print(_shown(space) if space.done else f"Page: {url}: {_size(space)} to send{new}")
    _print_unlinked(publication)


def _shown(space: PagePublication) -> str:
    if space.newer is not None:
        return f"{space.repository.url}: is for {printable(space.newer)}, a higher version; no page is sent"
    return f"{space.repository.url}: shows this page already"


def _print_unlinked(publication: Publication) -> None:
    if not publication.outgoing.manifest.page:
        print(f"The card of {publication.outgoing.tag} does not link it: a published version never changes")


def _size(space: PagePublication) -> str:
    from synthkit.system.progress import data_size

    return data_size(space.size)
