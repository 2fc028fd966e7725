"""Leaks: images that score a classifier and are also among those that it learns from."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from synthkit.errors import UnreadableImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from synthkit.sources.base import Source
    from synthkit.sources.pool import RealImages

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Leak:
    """One image of both: under one id, or under two with the same content (SHA-256)."""

    pool: str
    held_out: str
    by: Literal["id", "content"]

    def told(self) -> str:
        """Return the leak in words, with what to do."""
        if self.by == "id":
            return f"{self.held_out}; choose another part to score with"
        return f"{self.held_out} has the content of {self.pool}; leave one out with source.exclude"


def leaks(pool: RealImages, held_out: Source, advance: Callable[[int], None]) -> list[Leak]:
    """Return every held-out image that is also in the pool, by id or by content, in the held-out order.

    Held-out images are hashed and not decoded; one that cannot be read is no leak, as it scores nothing.
    `advance` is called with numbers of images.
    """
    ids = set(pool.listing.ids)
    by_content = dict(zip(pool.sha256, pool.listing.ids, strict=True))
    found: list[Leak] = []
    for name, sha256 in zip(held_out.listing.ids, contents(held_out, advance), strict=True):
        if name in ids:
            found.append(Leak(name, name, "id"))
        elif sha256 in by_content:
            found.append(Leak(by_content[sha256], name, "content"))
    return found


def contents(source: Source, advance: Callable[[int], None]) -> Iterator[str]:
    """Yield the SHA-256 of each image of a source, which is not decoded; an empty text for an unreadable one.

    `advance` is called with numbers of images.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(source.listing), _CHUNK):
            some = range(start, min(start + _CHUNK, len(source.listing)))
            yield from threads.map(lambda index: _hash(source, index), some)
            advance(len(some))


def _hash(source: Source, index: int) -> str:
    """Return the SHA-256 of an image; an empty text if it cannot be read."""
    try:
        return hashlib.sha256(source.read(index)).hexdigest()
    except UnreadableImage:
        return ""
