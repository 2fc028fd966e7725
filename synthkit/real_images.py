"""The pool of real images a release is conditioned on: each read once, hashed, and named by its hash."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from synthkit.errors import SourceError, UnreadableImage
from synthkit.records import Listing, Skipped, SourceImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

    from synthkit.sources import Source

T = TypeVar("T")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class RealImages:
    """The readable images of a source. Positions are those of `listing`."""

    source: Source
    listing: Listing
    sha256: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    _positions: tuple[int, ...]

    def load(self, position: int) -> Image.Image:
        """The image (RGB) at a position. Raises SourceError if it changed since it was hashed."""
        image, sha256 = self.source.load(self._positions[position])
        if sha256 != self.sha256[position]:
            name = self.listing.ids[position]
            raise SourceError(f"{name}: changed while the build was running; run the build again")
        return image

    def named(self, positions: Sequence[int]) -> tuple[SourceImage, ...]:
        """Real images as provenance names them."""
        return tuple(SourceImage(self.listing.ids[p], self.sha256[p]) for p in positions)

    @property
    def digest(self) -> str:
        """SHA-256 of everything about the pool that can change data: classes, ids, labels, contents."""
        digest = hashlib.sha256(json.dumps(self.listing.classes).encode())
        for row in zip(self.listing.ids, self.listing.labels.tolist(), self.sha256, strict=True):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()


def read_all(
    source: Source, *, on_error: Literal["stop", "skip"], advance: Callable[[int], None]
) -> RealImages:
    """Read every image of a source once, in threads; an unreadable one stops the build or is skipped."""
    listing = source.listing
    positions: list[int] = []
    hashes: list[str] = []
    skipped: list[Skipped] = []
    unreadable: list[UnreadableImage] = []
    for index, outcome in enumerate(_in_threads(lambda i: _hash_of(source, i), len(listing))):
        if isinstance(outcome, str):
            hashes.append(outcome)
            positions.append(index)
        else:
            unreadable.append(outcome)
            skipped.append(Skipped(listing.ids[index], outcome.reason))
        advance(1)
    if unreadable and on_error == "stop":
        raise SourceError(_tell(unreadable))
    _no_class_is_lost(listing, positions, unreadable)
    readable = Listing(listing.classes, tuple(listing.ids[p] for p in positions), listing.labels[positions])
    return RealImages(source, readable, tuple(hashes), tuple(skipped), tuple(positions))


def _tell(unreadable: Sequence[UnreadableImage]) -> str:
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


def _hash_of(source: Source, index: int) -> str | UnreadableImage:
    try:
        return source.load(index)[1]
    except UnreadableImage as error:
        return error


def _in_threads(work: Callable[[int], T], count: int) -> Iterator[T]:
    """Results in order, with no more than a window of images in memory."""
    threads = os.cpu_count() or 1
    window: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index in range(count):
            window.append(pool.submit(work, index))
            if len(window) > 4 * threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
