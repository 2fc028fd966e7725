"""The plan of a release, drawn again from its recipe and its manifest's counts, without the real images.

How many real images each class has decides the label and the seed of every image, and the places of its
real images among those of the class. Which real image stands at a place, only the source says, or the pool
that a few-shot manifest lists. But all records must agree on it: a place has one image, an image one place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError
from synthkit.release.containers import CONTAINERS
from synthkit.release.plan import balance_of, block_counts, block_faults, draw_all, first_members
from synthkit.release.records import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.plan import Draws
    from synthkit.release.records import Provenance
    from synthkit.sources.base import SourceImage

# The most images in the plan of a preview. All of it is drawn, at 40 bytes an image, however few images are
# on the disk: a forged manifest could ask for any amount of memory.
MOST_PLANNED_OF_A_PREVIEW = 1 << 25
MOST_REAL = 2**31 - 1
ORDINALS = ("first", "second")


@dataclass(frozen=True, slots=True)
class NamedImages:
    """The real images that some records name, one row for each naming.

    All arrays are (N,). `indices` are those of the records, `ordinals` 0 for a record's first real image
    and 1 for its second, `places` count through all real images, class by class. `ids` and `contents` are
    64-bit hashes of the image's id and file.
    """

    indices: NDArray[np.int64]
    ordinals: NDArray[np.int8]
    places: NDArray[np.int64]
    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class DerivedPlan:
    """What the plan says of each image.

    `starts` (C,) are the places at which the classes begin, `sources` is how many real images an image
    has. `pool` are the real images by place; None if the manifest does not list them.
    """

    draws: Draws
    starts: NDArray[np.int32]
    sources: int
    pool: Sequence[SourceImage] | None

    def faults(self, first: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Yield what the records of a shard say otherwise than the plan; `first` is the shard's first index.

        Compared are labels, seeds and, where the manifest lists them, real images.
        """
        for key, record, label, seed, places in self._planned(first, records):
            if record.label != label:
                yield f"{key}: its record's label is {record.label}, by the plan it is {label}"
            if record.seed != seed:
                yield f"{key}: its record's seed is {record.seed}, by the plan it is {seed}"
            if self.pool is not None and len(record.sources) == self.sources:
                for ordinal, said, place in zip(ORDINALS, record.sources, places, strict=False):
                    wanted = self.pool[place]
                    if said.id != wanted.id:
                        yield (
                            f"{key}: its record's {ordinal} real image is {said.id!r:.64}, by the plan and "
                            f"the pool it is {wanted.id!r:.64}"
                        )
                    elif said != wanted:
                        yield f"{key}: its record's {ordinal} real image has another sha256 than in the pool"

    def named_images(self, first: int, records: Sequence[Provenance | None]) -> NamedImages:
        """Return the real images that records name; records with another label than planned are left out."""
        rows = [
            (int(key), ordinal, place, _hash(source.id), int(source.sha256[:16], 16))
            for key, record, label, _, places in self._planned(first, records)
            if len(record.sources) == self.sources and record.label == label
            for ordinal, (source, place) in enumerate(zip(record.sources, places, strict=True))
        ]
        kinds = (np.int64, np.int8, np.int64, np.uint64, np.uint64)
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return NamedImages(
            *(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True))
        )

    def places_of(self, index: int) -> list[int]:
        """Return the places of an image's real images; none for an index that is not planned."""
        if index >= len(self.draws.labels):
            return []
        start = int(self.starts[self.draws.labels[index]])
        return [start + int(member) for member in self.draws.members[index, : self.sources]]

    def _planned(
        self, first: int, records: Sequence[Provenance | None]
    ) -> Iterator[tuple[str, Provenance, int, int, list[int]]]:
        """Yield each record with its key and with what is planned: label, seed, places of real images."""
        rows = slice(first, first + len(records))
        labels = self.draws.labels[rows]
        places = self.starts[labels][:, None] + self.draws.members[rows, : self.sources]
        planned = zip(labels.tolist(), self.draws.seeds[rows].tolist(), places.tolist(), strict=True)
        for index, (record, of_plan) in enumerate(zip(records, planned, strict=False), start=first):
            if record is not None:
                yield key_of(index), record, *of_plan


def derive(recipe: Recipe, manifest: Manifest, sources: int) -> DerivedPlan | None:
    """Draw the plan of a release; return None if no plan fits the manifest's counts."""
    real = [item.real for item in manifest.classes]
    if not real or not all(0 < count <= MOST_REAL for count in real) or sum(real) > MOST_REAL:
        return None
    classes = balance_of(recipe, [item.name for item in manifest.classes], real)
    whole = sum(item.synthetic for item in classes)
    least = manifest.images * CONTAINERS[manifest.container].least_per_sample
    on_disk = least <= sum(shard.bytes for shard in manifest.shards)
    if not 0 < manifest.images <= whole or not on_disk:
        return None
    if whole != manifest.images and (manifest.partial is None or whole > MOST_PLANNED_OF_A_PREVIEW):
        return None
    try:
        counts = block_counts(recipe, classes)
    except SourceError:
        return None
    if next(block_faults(recipe, counts), None) is not None:
        return None
    draws = draw_all(recipe.seed, classes, counts, recipe.conditioning.levels)
    return DerivedPlan(draws, first_members(classes), sources, _pool(manifest, real))


def _pool(manifest: Manifest, real: Sequence[int]) -> list[SourceImage] | None:
    """Return the pool of a few-shot release in the order of places; None if it has none, or other counts."""
    from synthkit.sources.base import SourceImage

    pool = manifest.source.pool
    if pool is None or [item.label for item in pool if not 0 <= item.label < len(real)]:
        return None
    labels = np.array([item.label for item in pool], dtype=np.int64)
    if np.bincount(labels, minlength=len(real)).tolist() != list(real):
        return None
    return [SourceImage(pool[at].id, pool[at].sha256) for at in np.argsort(labels, kind="stable")]


def contradictions(parts: Sequence[NamedImages]) -> Iterator[tuple[int, str]]:
    """Yield records that name another real image at a place than most do, or an image at two places.

    Yields the index of the record and what is wrong with it.
    """
    columns = NamedImages.__slots__
    every = NamedImages(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))
    if not len(every.places):
        return
    agreed = np.zeros(len(every.places), dtype=bool)
    for column, what in ((every.ids, "another one"), (every.contents, "one with another content")):
        odd = _outvoted(every.places, column)
        agreed |= odd
        for row in np.flatnonzero(odd):
            yield int(every.indices[row]), _another(every, int(row), what)
    for row in np.flatnonzero(~agreed & _twice(every.places, every.ids)):
        yield (
            int(every.indices[row]),
            f"its record's {ORDINALS[every.ordinals[row]]} real image is named at another place of the plan "
            "too",
        )


def _another(every: NamedImages, row: int, what: str) -> str:
    others = np.flatnonzero((every.places == every.places[row]) & (every.indices != every.indices[row]))
    other = key_of(int(every.indices[others[0]])) if len(others) else "itself"
    return (
        f"its record's {ORDINALS[every.ordinals[row]]} real image is {what} than in {other}, "
        "though the plan has the same for both"
    )


def _outvoted(places: NDArray[np.int64], values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return (N,) whether a row's value is outvoted at its place; in a tie, the first one wins."""
    order = np.lexsort((values, places))
    sorted_places, sorted_values = places[order], values[order]
    begins = np.flatnonzero(
        np.r_[True, (sorted_places[1:] != sorted_places[:-1]) | (sorted_values[1:] != sorted_values[:-1])]
    )
    lengths = np.diff(np.r_[begins, len(order)])
    of_place = sorted_places[begins]
    firsts = np.minimum.reduceat(order, begins)
    # Sorted by place; the longest run of equal values first, then the one that came first.
    ranked = np.lexsort((firsts, -lengths, of_place))
    winners = np.zeros(len(begins), dtype=bool)
    winners[ranked[np.r_[True, np.diff(of_place[ranked]) != 0]]] = True
    outvoted = np.empty(len(order), dtype=bool)
    outvoted[order] = np.repeat(~winners, lengths)
    return outvoted


def _twice(places: NDArray[np.int64], ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return (N,) whether a row's id stood at another place in an earlier row."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return np.asarray(places != places[first[inverse]])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
