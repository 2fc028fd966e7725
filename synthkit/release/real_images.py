"""Opens or reads the real images that a release was made from, at the places that `places.py` finds."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import MissingSource, SourceError
from synthkit.release.facts import RetrievalFacts
from synthkit.release.places import first_that_serves, remembered
from synthkit.release.remembered_places import remember_source
from synthkit.sources import open_source
from synthkit.sources.links import image_out_of, link_out_of
from synthkit.sources.pool import read_all
from synthkit.system.known_hashes import FILE, KnownHashes, open_known_hashes
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest
    from synthkit.release.places import Place, Received
    from synthkit.sources.base import Source
    from synthkit.sources.pool import RealImages


def find_source(
    received: Received, work_root: Path, what: str = "reading real images"
) -> tuple[Place, RealImages]:
    """Find the images that a release was made from; return their place, and the images, each of them hashed.

    The place is remembered in the work root. Raises SourceError if the images are not on this machine.
    """

    def attempt(place: Place) -> tuple[Place, RealImages]:
        return place, check_digest(place, received.manifest, what, work_root)

    place, real = first_that_serves(received, attempt)
    if place.by != "memory":
        remember_source(work_root, real.digest, place.source)
    return place, real


def check_digest(
    place: Place, manifest: Manifest, what: str = "looking for the real images", work_root: Path | None = None
) -> RealImages:
    """Read the images of a place. Raises SourceError if they are not those the release was made from."""
    if place.by == "memory":
        # Anybody may have written the memory: look at names and numbers before a file is opened.
        _of_same_classes(place, manifest)
    real = read_place(place, what, work_root)
    if real.digest != manifest.source.digest:
        stated = manifest.source
        message = (
            f"the real images here are not those that {manifest.name} was made from: "
            f"{len(real.listing):,} with digest {real.digest[:12]}, not {stated.images:,} with "
            f"{stated.digest[:12]}; point {place.source.settings or '--set source.…'} to the same ones"
        )
        raise SourceError(message, told=message)
    return real


def read_place(place: Place, what: str, work_root: Path | None) -> RealImages:
    """Read and hash every image of a place.

    The hashes are kept in the work root that remembers the place, else in `work_root`; None keeps none.
    """
    source, root = open_place(place), place.root or work_root
    with (
        nullcontext(KnownHashes()) if root is None else open_known_hashes(root / FILE) as known_hashes,
        progress(what, len(source.listing)) as advance,
    ):
        return read_all(
            source,
            on_error=place.source.on_error,
            known_hashes=known_hashes,
            advance=advance,
            place=place.source.place,
            known=advance.known,
        )


def open_place(place: Place) -> Source:
    """Open the source at a place.

    If only the recipe names the place, every file and link must stay below the current folder. Raises
    SourceError if that is not so, before a file is opened, or if the source cannot be listed.
    """
    folder, here = place.source.fields_of_places()[:1], Path.cwd()
    if not place.source.places() or place.free.issuperset(folder):
        return open_source(place.source)
    if link_out_of(place.source, here) is not None:
        raise _leads_out(place)
    source = open_source(place.source)
    if image_out_of(source, here) is not None:
        raise _leads_out(place)
    return source


def _leads_out(place: Place) -> MissingSource:
    return MissingSource(
        "source: links among the real images lead out of the current folder; what a release names is read "
        f"below it alone: if you mean it, say so with {place.source.settings}"
    )


def open_real(received: Received) -> Source:
    """Open the real images that a release was made from. Raises SourceError if they are not here.

    Images at a place that the user names are taken as they are. Elsewhere their classes and number must be
    the release's. If a build remembered a place too, there are two to choose from, and the images are hashed
    and compared with the digest. Otherwise they are not: hashing a large data set takes minutes, at the start
    of every training.
    """
    others = remembered(received)

    def attempt(place: Place) -> Source:
        if place.by == "user" or not place.source.places():
            return open_place(place)
        if others is None:
            return _of_same_classes(place, received.manifest)
        check_digest(place, received.manifest, work_root=others.root)
        return open_place(place)

    return first_that_serves(received, attempt)


def _of_same_classes(place: Place, manifest: Manifest) -> Source:
    """Open the source at a place, without opening an image.

    Raises SourceError if its classes or its number of images are not those the release was made from.
    """
    source, stated = open_place(place), manifest.source
    if isinstance(stated, RetrievalFacts):
        same = len(source.listing) == stated.images + stated.skipped
    else:
        known = (tuple(item.name for item in manifest.classes), stated.images + len(manifest.skipped))
        same = (source.listing.classes, len(source.listing)) == known
    if not same:
        message = f"the real images here are not those that {manifest.name} was made from"
        raise SourceError(message, told=message)
    return source
