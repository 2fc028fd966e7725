"""Find the real images that the records of a release name, and check that they are the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError
from synthkit.release.places import first_that_serves, of_pool
from synthkit.release.real_images import check_digest, open_place
from synthkit.release.records import Provenance8
from synthkit.sources.base import Listing, load_image
from synthkit.sources.pool import RealImages, missing_images, read_all
from synthkit.sources.retrieval import errors_of_pool
from synthkit.sources.selection import Selected
from synthkit.system.known_hashes import KnownHashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.release.places import Place, Received
    from synthkit.release.records import Provenance


def sources_of(received: Received, records: Sequence[Provenance]) -> RealImages:
    """Return the real images that some records name, each checked against its SHA-256.

    Raises SourceError if one is not on this machine or has another content.
    """
    wanted = {source.id: source.sha256 for record in records for source in record.sources}
    classes = tuple(item.name for item in received.manifest.classes)
    if not wanted:
        return RealImages.none(classes)
    return first_that_serves(received, lambda place: _named(received, place, wanted, classes))


def retrieved_of(received: Received, records: Sequence[Provenance]) -> RealImages:
    """Return the images of the pool that some records retrieve, each checked against its SHA-256.

    Raises SourceError if one is not on this machine or has another content.
    """
    retrieved = [record for record in records if isinstance(record, Provenance8)]
    wanted = {record.retrieved_id: record.retrieved_sha256 for record in retrieved}
    pool = of_pool(received)
    with errors_of_pool():
        return first_that_serves(pool, lambda place: _named(pool, place, wanted, None))


def _named(
    received: Received, place: Place, wanted: dict[str, str], classes: tuple[str, ...] | None
) -> RealImages:
    """Return the real images with the ids in `wanted` from one place, each of which must have its SHA-256.

    `classes` are the release's; None for a pool, which has its own.
    """
    if place.by == "memory":
        check_digest(place, received.manifest)
    source = open_place(place)
    known = {name: position for position, name in enumerate(source.listing.ids)}
    missing = [name for name in wanted if name not in known]
    if missing:
        what = f"{len(missing):,} real images" if len(missing) > 1 else "a real image"
        told = (
            f"the release was made from {what} not here: {missing[0]}{' …' if len(missing) > 1 else ''}; "
            f"point {place.source.settings or f'--set {place.source.section}.…'} to the data set of its "
            "recipe"
        )
        raise SourceError(told, told=told)
    positions = np.array([known[name] for name in wanted])
    listing = Listing(classes or source.listing.classes, tuple(wanted), source.listing.labels[positions])
    chosen = Selected(source, listing, positions)
    gone = missing_images(chosen)
    if gone:
        # An error names ids, which are in the release anyway, and quotes nothing from the user's list file.
        some = f"{len(gone):,} of {len(wanted):,} real images are missing or cannot be reached"
        told = f"{some}: {gone[0].image}; check {place.source.place}"
        raise SourceError(told, told=told)
    try:
        real = read_all(chosen, on_error="stop", known_hashes=KnownHashes(), advance=lambda count: None)
    except SourceError as error:
        # The decoder's own message may quote the file.
        told = f"{_first_unreadable(chosen)}: cannot be read: it is damaged, or not an image"
        raise SourceError(str(error), told=told) from error
    for name, sha256 in zip(real.listing.ids, real.sha256, strict=True):
        if wanted[name] != sha256:
            told = (
                f"{name} has sha256 {sha256[:16]}… here, {wanted[name][:16]}… when the release was made: "
                "this is another image; get the original data set"
            )
            raise SourceError(told, told=told)
    return real


def _first_unreadable(source: Selected) -> str:
    """Return the id of the first real image that cannot be read."""
    for index, name in enumerate(source.listing.ids):
        try:
            load_image(source, index)
        except SourceError:
            return name
    return "a real image"
