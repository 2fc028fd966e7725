"""Checks what records say of retrieved images, without the pool: each at most once, and the nearest first.

Whether an image is in the pool, and whether none nearer was left, only the pool shows; a replay reads what it
needs of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError
from synthkit.release.plan import balance_of, block_counts, numbers_in_class
from synthkit.release.records import Provenance8, key_of
from synthkit.release.scores import is_rounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


@dataclass(frozen=True, slots=True)
class RetrievedRows:
    """What records of a shard say was retrieved, (N,) each: hashes of its id and content, and how near it is.

    `numbers` are the images' places in their class, of which 0 has the nearest image.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]
    similarities: NDArray[np.float64]
    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]


class RetrievedRules:
    """The rules for the records of a release whose images are retrieved."""

    def __init__(self, recipe: Recipe, manifest: Manifest) -> None:
        self._numbers = _numbers(recipe, manifest)
        self._own = {image.sha256 for image in manifest.source.pool or ()}

    def faults(self, record: Provenance) -> Iterator[str]:
        """Yield what is wrong with one record."""
        if not isinstance(record, Provenance8):
            return
        if not is_rounded(record.similarity):
            yield f"its record's similarity is {record.similarity!r:.32}, which is not rounded as records are"
        if record.retrieved_sha256 in self._own:
            yield f"its record retrieves {record.retrieved_id!r:.64}, which is a training image"

    def rows(self, records: Sequence[Provenance]) -> RetrievedRows:
        """Return what records say was retrieved; those that are not planned are left out."""
        known = [
            record
            for record in records
            if isinstance(record, Provenance8) and int(record.key) < len(self._numbers)
        ]
        indices = np.array([int(record.key) for record in known], dtype=np.int64)
        return RetrievedRows(
            indices,
            np.array([record.label for record in known], dtype=np.int64),
            self._numbers[indices],
            np.array([record.similarity for record in known], dtype=np.float64),
            np.array([_hash(record.retrieved_id) for record in known], dtype=np.uint64),
            np.array([int(record.retrieved_sha256[:16], 16) for record in known], dtype=np.uint64),
        )


def contradictions(parts: Sequence[RetrievedRows]) -> Iterator[tuple[int, str]]:
    """Yield records that retrieve what an earlier one does, or something nearer than what comes before it.

    Yields the index of the record and what is wrong with it.
    """
    columns = RetrievedRows.__slots__
    every = RetrievedRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))
    twice = np.zeros(len(every.indices), dtype=bool)
    for column, what in ((every.ids, "image"), (every.contents, "content")):
        _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
        first_of = first[inverse]
        again = (first_of != np.arange(len(column))) & ~twice
        twice |= again
        for row in np.flatnonzero(again).tolist():
            other = key_of(int(every.indices[first_of[row]]))
            yield int(every.indices[row]), f"its record retrieves the same {what} as {other}"
    order = np.lexsort((every.numbers, every.labels))
    for before, row in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
        if every.labels[before] == every.labels[row] and every.similarities[row] > every.similarities[before]:
            other = key_of(int(every.indices[before]))
            yield (
                int(every.indices[row]),
                f"its record's similarity is {every.similarities[row]:g}, by the plan it is at most that of "
                f"{other}, {every.similarities[before]:g}",
            )


def _numbers(recipe: Recipe, manifest: Manifest) -> NDArray[np.int64]:
    """Return the planned images' places in their classes, (N,); none if no plan fits the manifest."""
    real, names = [item.real for item in manifest.classes], [item.name for item in manifest.classes]
    try:
        counts = block_counts(recipe, balance_of(recipe, names, real))
    except SourceError:
        return np.zeros(0, dtype=np.int64)
    return numbers_in_class(recipe.seed, counts)[: manifest.images]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
