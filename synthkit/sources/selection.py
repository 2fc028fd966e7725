"""The selection of a source's images for the pool: classes, halves, long tails, shots.

Every random choice is an order: within a class, images stand in the order of the SHA-256 of
`PURPOSE/SEED/ID`, and the first ones are taken. So an image's place depends on its id alone. One image
more or less moves at most one other of its class, a choice of more shots contains that of fewer, and anyone
can check a choice with sha256sum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import SourceError, did_you_mean, nearest
from synthkit.sources.base import Listing
from synthkit.system.names import fault_in, same_name, spelt_twice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.recipe.source import LongTail, SourceBase
    from synthkit.sources.base import Source


@dataclass(frozen=True, slots=True)
class Selected:
    """Some images of a source, with classes and labels of their own; `positions` count in the source."""

    source: Source
    listing: Listing
    positions: NDArray[np.intp]

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the source."""
        return self.source.notes

    def stamp(self, index: int) -> str:
        """Return the stamp of an image."""
        return self.source.stamp(int(self.positions[index]))

    def read(self, index: int) -> bytes:
        """Return the content of an image."""
        return self.source.read(int(self.positions[index]))

    def decode(self, index: int, content: bytes) -> Image.Image:
        """Return the RGB image in a content."""
        return self.source.decode(int(self.positions[index]), content)


def select(source: Source, config: SourceBase) -> Source:
    """Return the images that a recipe asks for.

    Raises SourceError for classes and images that the source does not have, and for a selection of none.
    """
    pool = Selected(source, source.listing, np.arange(len(source.listing)))
    if config.classes is not None:
        pool = _not_empty(_with_classes(pool, config.classes, config.place), "classes")
    if config.subset is not None:
        pool = _not_empty(_with_subset(pool, config.subset), "subset")
    if config.exclude:
        pool = _not_empty(_without(pool, config.exclude), "exclude")
    if config.halve is not None:
        wanted = in_training_half(pool.listing, config.halve.seed)
        pool = _only(pool, wanted if config.halve.part == "training" else ~wanted)
    if config.long_tail is not None:
        pool = _only(pool, _in_long_tail(pool.listing, config.long_tail))
    if config.shots is not None:
        wanted = in_shots(pool.listing, config.shots, config.trial)
        pool = _not_empty(_only(pool, ~wanted if config.all_but_shots else wanted), "all_but_shots")
    if config.limit_per_class is not None:
        pool = _only(pool, ranks(pool.listing, "limit/0") < config.limit_per_class)
    if config.class_order is not None:
        pool = _in_order(pool, config.class_order)
    _check_names(pool.listing.classes)
    return source if pool.listing is source.listing else pool


def in_training_half(listing: Listing, seed: int) -> NDArray[np.bool_]:
    """Return which images are in the training half of a data set, as (N,) bool; the rest are for validation.

    The training half is the first of each class in the order of SHA-256(`halve/SEED/ID`); of an odd number
    it has one image more. Building and scoring both divide a data set by this function alone. Raises
    SourceError for a class with a single image, which cannot be in both halves.
    """
    counts = _counts(listing)
    alone = [name for name, count in zip(listing.classes, counts.tolist(), strict=True) if count == 1]
    if alone:
        raise SourceError(
            f"source.halve: {_some(alone)}: one image cannot be halved; add images, or leave it out"
        )
    return ranks(listing, f"halve/{seed}") < ((counts + 1) // 2)[listing.labels]


def in_shots(listing: Listing, shots: int, trial: int) -> NDArray[np.bool_]:
    """Return which images are in a few-shot trial, as (N,) bool.

    They are the first `shots` of each class in the order of SHA-256(`shots/TRIAL/ID`). Raises SourceError if
    a class has fewer images.
    """
    counts = _counts(listing)
    short = [
        f"{name} ({count})"
        for name, count in zip(listing.classes, counts.tolist(), strict=True)
        if count < shots
    ]
    if short:
        raise SourceError(
            f"source.shots: {len(short)} of {len(listing.classes)} classes have fewer than {shots} images: "
            f"{_some(short)}; lower shots, or leave them out with source.classes"
        )
    return ranks(listing, f"shots/{trial}") < shots


def long_tail_counts(classes: int, max_per_class: int, imbalance_factor: float) -> list[int]:
    """Return the number of images of each class in an exponential long tail (Cui et al. 2019, section 5.1).

    Class c of C has int(max_per_class * imbalance_factor ** (-c / (C - 1))) images, as in CIFAR-LT.
    """
    last = max(classes - 1, 1)
    # The small addition keeps `int` from rounding down a number that rounding put just below a whole one.
    return [max(1, int(max_per_class * imbalance_factor ** (-c / last) + 1e-9)) for c in range(classes)]


def ranks(listing: Listing, salt: str) -> NDArray[np.intp]:
    """Return each image's place in its class, in the order of SHA-256(`SALT/ID`), as (N,) integers from 0."""
    keys = np.array(
        [int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:8]) for name in listing.ids],
        dtype=np.uint64,
    )
    order = np.lexsort((keys, listing.labels))
    counts = _counts(listing)
    places = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    result = np.empty(len(order), dtype=np.intp)
    result[order] = places
    return result


def _in_long_tail(listing: Listing, config: LongTail) -> NDArray[np.bool_]:
    counts = _counts(listing)
    most = config.max_per_class or int(counts.min())
    wanted = np.array(long_tail_counts(len(counts), most, config.imbalance_factor))
    short = [
        f"{name} has {have} of {want}"
        for name, have, want in zip(listing.classes, counts.tolist(), wanted.tolist(), strict=True)
        if have < want
    ]
    if short:
        raise SourceError(f"source.long_tail: too few images: {_some(short)}; lower max_per_class")
    return ranks(listing, "long_tail/0") < wanted[listing.labels]


def _check_names(names: Sequence[str]) -> None:
    for label, name in enumerate(names):
        fault = fault_in(name)
        if fault or not name.strip():
            why = f" ({fault})" if fault else ""
            raise SourceError(
                f"class {label} is called {name!r}: a name must be there and printable{why}; rename it"
            )
    alike = spelt_twice(names)
    if alike:
        raise SourceError(
            f"two classes are called {alike[0]}: {alike[0]!a} and {alike[1]!a} look the same; "
            "rename one, or merge them with source.classes"
        )


def _not_empty(pool: Selected, field: str) -> Selected:
    if not len(pool.listing):
        raise SourceError(f"source.{field}: leaves no image; choose classes that have some")
    return pool


def _with_classes(pool: Selected, classes: Sequence[str] | dict[str, str | None], place: str) -> Selected:
    """Return the pool with some classes alone (a list), or with classes renamed, merged and left out."""
    names = pool.listing.classes
    if isinstance(classes, dict):
        classes = dict(zip(_as_spelt(classes, names), classes.values(), strict=True))
        _check_spelling(classes, names, place)
        renamed = [classes.get(name, name) for name in names]
    else:
        classes = _as_spelt(classes, names)
        _check_known(classes, names, "source.classes")
        picked = set(classes)
        renamed = [name if name in picked else None for name in names]
    return _relabelled(pool, renamed)


def _with_subset(pool: Selected, subset: Sequence[str | int]) -> Selected:
    names = pool.listing.classes
    wanted: set[int] = set()
    for item in subset:
        if isinstance(item, str):
            (given,) = _as_spelt([item], names)
            _check_known([given], names, "source.subset")
            wanted.update(number for number, name in enumerate(names) if name == given)
            continue
        _check_not_a_name(item, names)
        if 0 <= item < len(names):
            wanted.add(item)
        else:
            raise SourceError(f"source.subset: there is no class {item}; the source has {len(names)}, from 0")
    kept = sorted(wanted)
    mapping = np.full(len(names), -1, dtype=np.int32)
    mapping[kept] = np.arange(len(kept))
    return _mapped(pool, tuple(names[number] for number in kept), mapping)


def _in_order(pool: Selected, order: Sequence[str]) -> Selected:
    """Return the pool with some classes first, in that order, and the others behind them in theirs."""
    names = pool.listing.classes
    wanted = _as_spelt(order, names)
    _check_known(wanted, names, "source.class_order")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    try:
        # Two classes that share a name keep their order.
        first = [places[name].pop(0) for name in wanted]
    except IndexError:
        raise SourceError("source.class_order: names a class more than once") from None
    every = [*first, *sorted(place for left in places.values() for place in left)]
    mapping = np.empty(len(names), dtype=np.int32)
    mapping[every] = np.arange(len(names))
    return _mapped(pool, tuple(names[place] for place in every), mapping)


def _check_not_a_name(number: int, names: Sequence[str]) -> None:
    """Raise SourceError if a number could be meant as a label and as the name of another class."""
    called = [name for name in names if name.isdecimal() and int(name) == number]
    by_label = names[number] if 0 <= number < len(names) else None
    if called and called != [by_label]:
        other = f', or "{by_label}" for class number {number}' if by_label is not None else ""
        raise SourceError(
            f"source.subset: {number} is the name of a class and the number of a place among them: "
            f'write "{called[0]}", in quotes, for the class of that name{other}'
        )


def _as_spelt(wanted: Iterable[str], names: Collection[str]) -> list[str]:
    """Return names as the source spells them: a keyboard and a Mac's disk write é in two ways."""
    known = {same_name(name): name for name in names}
    return [name if name in names else known.get(same_name(name), name) for name in wanted]


def _relabelled(pool: Selected, renamed: Sequence[str | None]) -> Selected:
    """Return the pool with new names of classes, numbered in the order of first use; None leaves one out."""
    given = {new for new, old in zip(renamed, pool.listing.classes, strict=True) if new != old}
    names: list[str] = []
    number_of: dict[str, int] = {}
    mapping: list[int] = []
    for name in renamed:
        if name is None:
            mapping.append(-1)
            continue
        # Two classes that share a name in the source, as ImageNet's two cranes, stay two.
        if name not in number_of or name not in given:
            number_of[name] = len(names)
            names.append(name)
        mapping.append(number_of[name])
    return _mapped(pool, tuple(names), np.array(mapping, dtype=np.int32))


def _mapped(pool: Selected, names: tuple[str, ...], mapping: NDArray[np.int32]) -> Selected:
    """Return the pool with new classes; `mapping` has the new label of each old one, or -1 for none."""
    labels = mapping[pool.listing.labels]
    kept = _only(pool, labels >= 0)
    listing = Listing(names, kept.listing.ids, labels[labels >= 0])
    return Selected(pool.source, listing, kept.positions)


def _without(pool: Selected, ids: Sequence[str]) -> Selected:
    known = set(pool.listing.ids)
    if not known.issuperset(ids):
        ids = _as_spelt(ids, known)
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise SourceError(
            f"source.exclude: there is no image {_some(unknown)}; ids look like {pool.listing.ids[0]}"
        )
    left_out = set(ids)
    return _only(pool, np.array([name not in left_out for name in pool.listing.ids], dtype=bool))


def _only(pool: Selected, wanted: NDArray[np.bool_]) -> Selected:
    kept = np.flatnonzero(wanted)
    ids = tuple(pool.listing.ids[index] for index in kept)
    listing = Listing(pool.listing.classes, ids, pool.listing.labels[kept])
    return Selected(pool.source, listing, pool.positions[kept])


def _counts(listing: Listing) -> NDArray[np.intp]:
    return np.bincount(listing.labels, minlength=len(listing.classes))


def _check_spelling(renames: dict[str, str | None], names: Collection[str], place: str) -> None:
    """Raise SourceError for a renamed class that is probably a misspelt one, and if none of them is here.

    Other names may be missing: a recipe renames classes that only some copies of a data set have.
    """
    others = [name for name in names if name not in renames]
    for name in renames:
        near = [] if name in names else nearest(name, others, cutoff=0.8)
        if near:
            raise SourceError(f"source.classes: there is no class {name!r} (did you mean {near[0]}?)")
    if not any(name in names for name in renames):
        raise SourceError(
            f"source.classes: none of its classes is here; there are {_some(sorted(names))}; check {place}"
        )


def _check_known(wanted: Iterable[str], names: Collection[str], field: str) -> None:
    known = set(names)
    for name in wanted:
        if name not in known:
            hint = did_you_mean(name, known) or f" (there are {_some(sorted(known))})"
            raise SourceError(f"{field}: there is no class {name!r}{hint}")


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
