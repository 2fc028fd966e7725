"""The pool of real images that a release is conditioned on, each with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from synthkit.errors import SourceError, UnreadableImage
from synthkit.sources.base import Listing, Skipped, SourceImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from PIL import Image

    from synthkit.sources.base import Source
    from synthkit.system.known_hashes import KnownHashes

_SHOWN = 20
_MISSING_SHOWN = 5
# Images that are looked up, hashed and remembered together; a kill loses the work of so many.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class _NoSource:
    """A source without images."""

    listing: Listing
    notes: tuple[str, ...] = ()

    def stamp(self, index: int) -> str:
        raise IndexError(index)

    def read(self, index: int) -> bytes:
        raise IndexError(index)

    def decode(self, index: int, content: bytes) -> Image.Image:
        raise IndexError(index)


@dataclass(frozen=True, slots=True)
class RealImages:
    """The readable images of a source; positions count in `listing`.

    `sha256` is parallel to it. `skipped` are the images of the source that could not be read.
    """

    source: Source
    listing: Listing
    sha256: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    _positions: tuple[int, ...]
    _stamps: tuple[str, ...]

    @classmethod
    def none(cls, classes: tuple[str, ...]) -> Self:
        """Return a pool of some classes without images, for a method that uses prompts alone."""
        listing = Listing(classes, (), np.zeros(0, dtype=np.int32))
        return cls(_NoSource(listing), listing, (), (), (), ())

    def only(self, positions: Sequence[int]) -> Self:
        """Return some of the images; those of one pool keep their order."""
        listing = self.listing
        return replace(
            self,
            listing=Listing(
                listing.classes, tuple(listing.ids[p] for p in positions), listing.labels[positions]
            ),
            sha256=tuple(self.sha256[p] for p in positions),
            _positions=tuple(self._positions[p] for p in positions),
            _stamps=tuple(self._stamps[p] for p in positions),
        )

    def load(self, position: int) -> Image.Image:
        """Return the RGB image at a position. Raises SourceError if it changed since it was hashed."""
        index = self._positions[position]
        content = self.source.read(index)
        if self.source.stamp(index) != self._stamps[position]:
            name = self.listing.ids[position]
            raise SourceError(f"{name}: changed while the build was running; run the build again")
        return self.source.decode(index, content)

    def named(self, positions: Sequence[int]) -> tuple[SourceImage, ...]:
        """Return images as provenance names them: by id and SHA-256."""
        return tuple(SourceImage(self.listing.ids[p], self.sha256[p]) for p in positions)

    @property
    def digest(self) -> str:
        """The SHA-256 of all of the pool that can change data: classes, ids, labels, contents."""
        rows = zip(self.listing.ids, self.listing.labels.tolist(), self.sha256, strict=True)
        return digest_of(self.listing.classes, rows)


def digest_of(classes: Sequence[str], rows: Iterable[tuple[str, int, str]]) -> str:
    """Return the SHA-256 of the classes' names and of each image's (id, label, SHA-256), in listing order."""
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for row in rows:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def read_all(
    source: Source,
    *,
    on_error: Literal["stop", "skip"],
    known_hashes: KnownHashes,
    advance: Callable[[int], None],
    known: Callable[[int], None] | None = None,
    place: str = "source.root",
) -> RealImages:
    """Return the readable images of a source; in threads, hash those that `known_hashes` does not know.

    By `on_error`, an image that is missing or cannot be decoded stops all or is skipped. `advance` is called
    with numbers of images, and `known`, if given, with those of images that need not be read again. Raises
    SourceError if images cannot be read or a class loses all; `place` is the field of the recipe to check.
    """
    outcomes: list[str | UnreadableImage] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stamps = _stamps(source, pool)
        missing = _missing(stamps)
        if missing and on_error == "stop":
            raise _some_missing(missing, len(stamps), place)
        for start in range(0, len(stamps), _CHUNK):
            some = stamps[start : start + _CHUNK]
            found, hashed = _hash_chunk(source, start, some, known_hashes, pool)
            outcomes.extend(found)
            if hashed < len(some):
                (known or advance)(len(some) - hashed)
            if hashed:
                advance(hashed)
    unreadable = [outcome for outcome in outcomes if isinstance(outcome, UnreadableImage)]
    if unreadable and on_error == "stop":
        told = f"{len(unreadable):,} of {len(stamps):,} real images cannot be read"
        raise SourceError(_tell_unreadable(unreadable), told=told)
    return _readable(source, stamps, outcomes)


def missing_images(source: Source) -> list[UnreadableImage]:
    """Return an error for each image of a source that is missing; no image is opened."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return _missing(_stamps(source, pool))


def _missing(stamps: Sequence[str | UnreadableImage]) -> list[UnreadableImage]:
    return [stamp for stamp in stamps if isinstance(stamp, UnreadableImage)]


def _stamps(source: Source, pool: ThreadPoolExecutor) -> list[str | UnreadableImage]:
    def of_chunk(start: int) -> list[str | UnreadableImage]:
        return [_stamp(source, index) for index in range(start, min(start + _CHUNK, count))]

    count = len(source.listing)
    return [stamp for chunk in pool.map(of_chunk, range(0, count, _CHUNK)) for stamp in chunk]


def _hash_chunk(
    source: Source,
    start: int,
    stamps: Sequence[str | UnreadableImage],
    known_hashes: KnownHashes,
    pool: ThreadPoolExecutor,
) -> tuple[list[str | UnreadableImage], int]:
    """Return the SHA-256 of each image, or why it cannot be read, and the number of images read now.

    Images that an earlier run hashed are not read.
    """
    known = known_hashes.find([stamp for stamp in stamps if isinstance(stamp, str)])
    unknown = {
        stamp: start + offset
        for offset, stamp in enumerate(stamps)
        if isinstance(stamp, str) and stamp not in known
    }
    outcomes = pool.map(lambda index: _hash(source, index), unknown.values())
    new = dict(zip(unknown, outcomes, strict=True))
    # The SHA-256 of an image that changed while it was read is not remembered.
    same = {stamp for stamp, index in unknown.items() if _stamp(source, index) == stamp}
    known_hashes.keep(
        {stamp: sha256 for stamp, sha256 in new.items() if isinstance(sha256, str) and stamp in same}
    )
    every = known | new
    return [every[stamp] if isinstance(stamp, str) else stamp for stamp in stamps], len(unknown)


def _stamp(source: Source, index: int) -> str | UnreadableImage:
    try:
        return source.stamp(index)
    except UnreadableImage as error:
        return error


def _hash(source: Source, index: int) -> str | UnreadableImage:
    try:
        content = source.read(index)
        source.decode(index, content)
    except UnreadableImage as error:
        return error
    return hashlib.sha256(content).hexdigest()


def _readable(
    source: Source, stamps: Sequence[str | UnreadableImage], outcomes: Sequence[str | UnreadableImage]
) -> RealImages:
    listing = source.listing
    skipped = {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, UnreadableImage)}
    positions = [index for index in range(len(outcomes)) if index not in skipped]
    _no_class_is_lost(listing, positions, list(skipped.values()))
    return RealImages(
        source,
        Listing(listing.classes, tuple(listing.ids[p] for p in positions), listing.labels[positions]),
        tuple(str(outcomes[p]) for p in positions),
        tuple(Skipped(listing.ids[index], error.reason) for index, error in skipped.items()),
        tuple(positions),
        tuple(str(stamps[p]) for p in positions),
    )


def _some_missing(missing: Sequence[UnreadableImage], listed: int, place: str) -> SourceError:
    first = ", ".join(error.image for error in missing[:_MISSING_SHOWN])
    more = f" and {len(missing) - _MISSING_SHOWN:,} more" if len(missing) > _MISSING_SHOWN else ""
    told = f"{len(missing):,} of {listed:,} real images are missing or cannot be reached"
    advice = f"check {place}, or leave them out with source.on_error: skip"
    return SourceError(f"{told}: {first}{more}; {advice}", told=told)


def _tell_unreadable(unreadable: Sequence[UnreadableImage]) -> str:
    advice = "mend or remove them, or set source.on_error: skip"
    if len(unreadable) == 1:
        return f"{unreadable[0]}; {advice.replace('them', 'it')}"
    shown = [f"  {error}" for error in unreadable[:_SHOWN]]
    more = [f"  … and {len(unreadable) - _SHOWN} more"] if len(unreadable) > _SHOWN else []
    return "\n".join([f"{len(unreadable)} real images cannot be read; {advice}", *shown, *more])


def _no_class_is_lost(
    listing: Listing, positions: Sequence[int], unreadable: Sequence[UnreadableImage]
) -> None:
    for label in sorted(set(listing.labels.tolist()) - set(listing.labels[positions].tolist())):
        name = listing.classes[label]
        raise SourceError(f"every image of class {name} was skipped as unreadable; for one, {unreadable[0]}")
