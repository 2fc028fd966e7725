"""Whether images that score a classifier are among those it may have learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from synthkit.real_images import RealImages


@dataclass(frozen=True, slots=True)
class Leak:
    """One image of both: under one id, or under two with the same content (SHA-256)."""

    pool: str
    held_out: str
    by: Literal["id", "content"]


def leaks(pool: RealImages, held_out: RealImages) -> list[Leak]:
    """Every held-out image that is also in the pool, by id and by content, in the held-out order."""
    ids = set(pool.listing.ids)
    by_content = dict(zip(pool.sha256, pool.listing.ids, strict=True))
    found: list[Leak] = []
    for name, sha256 in zip(held_out.listing.ids, held_out.sha256, strict=True):
        if name in ids:
            found.append(Leak(name, name, "id"))
        elif sha256 in by_content:
            found.append(Leak(by_content[sha256], name, "content"))
    return found
