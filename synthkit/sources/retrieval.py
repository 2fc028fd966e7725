"""The pool that images are retrieved from: a second source, without what may not be retrieved.

An image that scores the classifier, or that it learns from anyway, must not come back as a retrieved one. So
images of the pool with the content (SHA-256) of a training or a held-out image of the recipe's source are
left out, and where both are one data set, those with the id of one; of several with one content the first is
kept. The pool's labels are not used.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import SourceError
from synthkit.recipe.source import SourceBase
from synthkit.sources import held_out, open_source
from synthkit.sources.pool import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from synthkit.recipe.families import SourceConfig
    from synthkit.recipe.retrieval import Retrieval
    from synthkit.sources.base import Source
    from synthkit.sources.pool import RealImages


# How messages name a field of a source.
_FIELD = re.compile(r"(?<![\w./])source\.(?=[a-z])")


@dataclass(frozen=True, slots=True)
class RetrievalPool:
    """The images that may be retrieved, and how many of the `whole` pool may not.

    `own` are training images, `held_out` those that score (None if these are not on this machine), `repeated`
    have the content of an earlier one.
    """

    images: RealImages
    whole: RealImages
    own: int
    held_out: int | None
    repeated: int

    @property
    def digest(self) -> str:
        """The SHA-256 of all that decides what is retrieved: ids and contents, and no label."""
        rows = zip(self.images.listing.ids, self.images.sha256, strict=True)
        return digest_of((), ((name, 0, sha256) for name, sha256 in rows))

    def notes(self) -> Iterator[str]:
        """Yield what was left out, and why, a line each."""
        if self.own:
            yield f"{self.own:,} images of the pool are left out: they are training images of the source"
        if self.held_out:
            yield f"{self.held_out:,} images of the pool are left out: they are held-out images, which score"
        if self.repeated:
            yield f"{self.repeated:,} images of the pool are left out: they have the content of another one"
        if self.held_out is None:
            yield (
                "the source's held-out images are not on this machine, so that none of them could be left "
                "out of the pool"
            )


@contextmanager
def errors_of_pool() -> Iterator[None]:
    """Say of errors about real images that they are about the pool."""
    try:
        yield
    except SourceError as error:
        told = error.told and _of_pool(error.told)
        raise SourceError(_of_pool(str(error)), told=told) from None


def _of_pool(message: str) -> str:
    named = _FIELD.sub("retrieval.source.", message)
    return named if named.startswith("retrieval") else f"retrieval: {named}"


def open_pool(retrieval: Retrieval, needed: int) -> Source:
    """Open the second source of a recipe; `needed` is how many images are to be retrieved.

    No image is read. Raises SourceError if it cannot be opened, or has too few images.
    """
    with errors_of_pool():
        source = open_source(retrieval.source)
    check_enough(len(source.listing), needed)
    return source


def check_enough(images: int, needed: int, *left_out: str) -> None:
    """Raise SourceError if a pool has fewer images than are to be retrieved."""
    if images < needed:
        after = f" ({'; '.join(left_out)})" if left_out else ""
        raise SourceError(
            f"retrieval.source: has {images:,} images to retrieve{after}, and {needed:,} are needed, each at "
            "most once; take a larger source, or lower target_per_class (synthetic_per_class)"
        )


def open_held_out(config: SourceConfig) -> Source | None:
    """Open the images that score a classifier trained on a source; None if they are not on this machine."""
    try:
        return open_source(held_out(config))
    except SourceError:
        return None


def without_leaks(
    whole: RealImages,
    real: RealImages,
    held_out_ids: Sequence[str],
    held_out_sha256: Collection[str] | None,
    *,
    one_data_set: bool,
) -> RetrievalPool:
    """Return a pool without images that are training images (`real`), held out, or there twice.

    `held_out_sha256` is None if the held-out images are not here; `one_data_set` says that equal ids mean
    equal images.
    """
    own, scoring = set(real.sha256), frozenset(held_out_sha256 or ())
    own_ids = set(real.listing.ids) if one_data_set else set()
    scoring_ids = set(held_out_ids) if one_data_set else set()
    kept, counts, seen = list[int](), {"own": 0, "held out": 0, "repeated": 0}, set[str]()
    for position, (name, sha256) in enumerate(zip(whole.listing.ids, whole.sha256, strict=True)):
        if sha256 in own or name in own_ids:
            counts["own"] += 1
        elif sha256 in scoring or name in scoring_ids:
            counts["held out"] += 1
        elif sha256 in seen:
            counts["repeated"] += 1
        else:
            kept.append(position)
            seen.add(sha256)
    known = None if held_out_sha256 is None else counts["held out"]
    return RetrievalPool(whole.only(kept), whole, counts["own"], known, counts["repeated"])


def is_one_data_set(one: SourceConfig, other: SourceConfig) -> bool:
    """Return whether two sources are of the same data set, whatever they select from it."""
    fields = set(type(one).model_fields) - set(SourceBase.model_fields)
    return one.kind == other.kind and all(getattr(one, name) == getattr(other, name) for name in fields)
