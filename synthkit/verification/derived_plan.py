"""The plan of a release, drawn again from its recipe and the counts of its manifest, without real images.

Labels, seeds and each image's places among the real images of its class follow from how many there are.
Which image stands at a place only the source tells, or the pool that a few-shot manifest lists; but one
place has one image in the whole release, and one image has one place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.release.plan import balance_of, draw_all, first_members
from synthkit.release.records import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.plan import Draws
    from synthkit.release.records import Provenance
    from synthkit.sources.base import SourceImage

# Bytes of a sample in a tar at least: three members, each with a header and a block.
LEAST_PER_IMAGE = 3 * 1024
# Of a preview the whole plan is drawn, which nothing on the disk bears out: 40 bytes an image.
MOST_OF_A_PREVIEW = 1 << 25
MOST_REAL = 2**31 - 1
ORDINALS = ("first", "second")


@dataclass(frozen=True, slots=True)
class Places:
    """Which real images some records name: of each, the record's index, the place, and hashes of id and file.

    `places` (N,) int64 count through all real images, class by class; `ordinals` (N,) say first or second.
    """

    indices: NDArray[np.int64]
    ordinals: NDArray[np.int8]
    places: NDArray[np.int64]
    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Derived:
    """What a plan says of each image; `pool` are the real images by place, where the manifest lists them."""

    draws: Draws
    starts: NDArray[np.int32]
    sources: int
    pool: Sequence[SourceImage] | None

    def faults(self, first: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Labels, seeds and real images that are not those of the plan."""
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

    def places(self, first: int, records: Sequence[Provenance | None]) -> Places:
        """The real images of records that are planned."""
        rows = [
            (int(key), ordinal, place, _hash(source.id), int(source.sha256[:16], 16))
            for key, record, label, _, places in self._planned(first, records)
            if len(record.sources) == self.sources and record.label == label
            for ordinal, (source, place) in enumerate(zip(record.sources, places, strict=True))
        ]
        kinds = (np.int64, np.int8, np.int64, np.uint64, np.uint64)
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return Places(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))

    def places_of(self, index: int) -> list[int]:
        """The places of the real images of an image, among all real images, class by class."""
        if index >= len(self.draws.labels):
            return []
        start = int(self.starts[self.draws.labels[index]])
        return [start + int(member) for member in self.draws.members[index, : self.sources]]

    def _planned(
        self, first: int, records: Sequence[Provenance | None]
    ) -> Iterator[tuple[str, Provenance, int, int, list[int]]]:
        """Of each record its key, and the label, the seed and the places of real images that are planned."""
        rows = slice(first, first + len(records))
        labels = self.draws.labels[rows]
        places = self.starts[labels][:, None] + self.draws.members[rows, : self.sources]
        planned = zip(labels.tolist(), self.draws.seeds[rows].tolist(), places.tolist(), strict=True)
        for index, (record, of_plan) in enumerate(zip(records, planned, strict=False), start=first):
            if record is not None:
                yield key_of(index), record, *of_plan


def derive(recipe: Recipe, manifest: Manifest, sources: int) -> Derived | None:
    """The plan of a release; None if the manifest's counts are none that a plan can be drawn from."""
    real = [item.real for item in manifest.classes]
    if not real or not all(0 < count <= MOST_REAL for count in real) or sum(real) > MOST_REAL:
        return None
    classes = balance_of(recipe, [item.name for item in manifest.classes], real)
    whole = sum(item.synthetic for item in classes)
    on_disk = manifest.images * LEAST_PER_IMAGE <= sum(shard.bytes for shard in manifest.shards)
    if not 0 < manifest.images <= whole or not on_disk:
        return None
    if whole != manifest.images and (manifest.partial is None or whole > MOST_OF_A_PREVIEW):
        return None
    return Derived(draw_all(recipe.seed, classes), first_members(classes), sources, _pool(manifest, real))


def _pool(manifest: Manifest, real: Sequence[int]) -> list[SourceImage] | None:
    """The real images of a few-shot release by their places; None if it lists none, or not as many."""
    from synthkit.sources.base import SourceImage

    pool = manifest.source.pool
    if pool is None or [item.label for item in pool if not 0 <= item.label < len(real)]:
        return None
    labels = np.array([item.label for item in pool], dtype=np.int64)
    if np.bincount(labels, minlength=len(real)).tolist() != list(real):
        return None
    return [SourceImage(pool[at].id, pool[at].sha256) for at in np.argsort(labels, kind="stable")]


def contradictions(parts: Sequence[Places]) -> Iterator[tuple[int, str]]:
    """Records that name another real image at a place than most do, or one image at two places.

    Of each, the index of the record and what is wrong.
    """
    every = Places(*(np.concatenate([getattr(part, name) for part in parts]) for name in Places.__slots__))
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


def _another(every: Places, row: int, what: str) -> str:
    others = np.flatnonzero((every.places == every.places[row]) & (every.indices != every.indices[row]))
    other = key_of(int(every.indices[others[0]])) if len(others) else "itself"
    return (
        f"its record's {ORDINALS[every.ordinals[row]]} real image is {what} than in {other}, "
        "though the plan has the same for both"
    )


def _outvoted(places: NDArray[np.int64], values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) whether most rows of the same place have another value; of as many, the first in order counts."""
    order = np.lexsort((values, places))
    sorted_places, sorted_values = places[order], values[order]
    begins = np.flatnonzero(
        np.r_[True, (sorted_places[1:] != sorted_places[:-1]) | (sorted_values[1:] != sorted_values[:-1])]
    )
    lengths = np.diff(np.r_[begins, len(order)])
    of_place = sorted_places[begins]
    firsts = np.minimum.reduceat(order, begins)
    # The run of each place that is longest, and of equal ones the one that comes first, stands first.
    ranked = np.lexsort((firsts, -lengths, of_place))
    winners = np.zeros(len(begins), dtype=bool)
    winners[ranked[np.r_[True, np.diff(of_place[ranked]) != 0]]] = True
    outvoted = np.empty(len(order), dtype=bool)
    outvoted[order] = np.repeat(~winners, lengths)
    return outvoted


def _twice(places: NDArray[np.int64], ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(N,) whether an id stands at a place although it stands at another one in an earlier row."""
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return np.asarray(places != places[first[inverse]])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
