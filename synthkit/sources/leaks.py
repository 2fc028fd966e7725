"""Leaks: images that score a classifier and are also among those that it learns from."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from synthkit.errors import UnreadableImage

if TYPE_CHECKING:
    from collections.abc import Callable

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
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(held_out.listing), _CHUNK):
            some = range(start, min(start + _CHUNK, len(held_out.listing)))
            for index, sha256 in zip(some, threads.map(lambda i: _hash(held_out, i), some), strict=True):
                name = held_out.listing.ids[index]
                if name in ids:
                    found.append(Leak(name, name, "id"))
                elif sha256 in by_content:
                    found.append(Leak(by_content[sha256], name, "content"))
            advance(len(some))
    return found


def _hash(source: Source, index: int) -> str:
    """Return the SHA-256 of an image; an empty text if it cannot be read."""
    try:
        return hashlib.sha256(source.read(index)).hexdigest()
    except UnreadableImage:
        return ""
