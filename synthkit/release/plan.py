"""The plan of a release: how many images of each class, and each image's seed, real images and shard.

It is a pure function of the recipe and the listing of the real images, so that verification can draw it
again. It is kept as columns, 20 bytes for each planned image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.errors import SourceError
from synthkit.release.blocks import Blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.recipe.source import Groups
    from synthkit.sources.base import Listing


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One row of a plan: everything that decides an image before the model runs.

    `sources` are positions in the source's listing: two for methods that mix, one for those that do
    not, none for text-only. All further randomness comes from `seed` (63 bits). `level` is which of the
    recipe's levels its first real image is taken at, from 0; 0 if it has none.
    """

    index: int
    label: int
    sources: tuple[int, ...]
    seed: int
    level: int = 0


Group = Literal["many", "medium", "few"]
GROUPS: tuple[Group, ...] = ("many", "medium", "few")

# The second word of the Philox key for the order of the first block's images; the next blocks have the next
# lower words. The words for classes are the labels, from 0 up.
_ORDER = 2**64 - 1
# The names of shards have five digits, so that they stand in the order of their numbers.
_MOST_SHARDS = 100_000
# The most numbers in a table of blocks by classes: 256 MB. A forged release could ask for any amount.
_MOST_COUNTS = 1 << 25
# Of one class: labels, seeds and places, as in Draws.
Columns = tuple["NDArray[np.int32]", "NDArray[np.uint64]", "NDArray[np.int32]"]


@dataclass(frozen=True, slots=True)
class ClassBalance:
    """One class: how many real images it has, its group, and how many synthetic images fill it up."""

    label: int
    name: str
    group: Group
    real: int
    synthetic: int


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn for every image, in release order, from the sizes of the classes alone.

    `labels` (N,) int32; `seeds` (N,) uint64 below 2**63; `members` (N, 2) int32, the places of the two real
    images among those of the class; `levels` (N,) int32, which of the recipe's levels, None if it has none.
    """

    labels: NDArray[np.int32]
    seeds: NDArray[np.uint64]
    members: NDArray[np.int32]
    levels: NDArray[np.int32] | None = None

    def level(self, index: int) -> int:
        """Return which level an image has, from 0; 0 if there are none."""
        return 0 if self.levels is None else int(self.levels[index])


@dataclass(frozen=True, slots=True)
class Plan:
    """Every image of a release, in release order.

    `labels` (N,) int32; `seeds` (N,) uint64 below 2**63; `pairs` (N, 2) int32, positions in the
    listing, of which the first `sources` are used. `blocks` says which image stands in which shard. `levels`
    is that of `Draws`.
    """

    labels: NDArray[np.int32]
    seeds: NDArray[np.uint64]
    pairs: NDArray[np.int32]
    sources: int
    blocks: Blocks
    batch_size: int
    levels: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shards(self) -> int:
        """How many shards the release has."""
        return self.blocks.shards

    @property
    def newest(self) -> range:
        """The numbers of the newest block's shards: those that no earlier version of the release has."""
        return self.blocks.numbers(len(self.blocks.images) - 1)

    def images_in(self, shard: int) -> int:
        """Return how many images a shard holds."""
        return len(self.blocks.indices(shard))

    def indices(self, shard: int) -> range:
        """Return the indices of a shard's images."""
        return self.blocks.indices(shard)

    def row(self, index: int) -> PlannedImage:
        """Return one planned image."""
        sources = tuple(int(position) for position in self.pairs[index, : self.sources])
        level = 0 if self.levels is None else int(self.levels[index])
        return PlannedImage(index, int(self.labels[index]), sources, int(self.seeds[index]), level)

    def first(self, count: int) -> Plan:
        """Return the plan of a preview: the first images, exactly as in the whole plan."""
        return Plan(
            self.labels[:count],
            self.seeds[:count],
            self.pairs[:count],
            self.sources,
            self.blocks.first(count),
            self.batch_size,
            None if self.levels is None else self.levels[:count],
        )


def balance(recipe: Recipe, listing: Listing) -> list[ClassBalance]:
    """Return, for each class, its real images and how many synthetic ones fill it up to the target.

    Raises SourceError if there is no class, a class has no real image, nothing is left to make, or
    `filters.prefer` has one class alone.
    """
    real = check_classes(listing)
    if len(real) == 1 and recipe.filters is not None and recipe.filters.prefer is not None:
        raise SourceError(
            f"filters.prefer: {listing.classes[0]!r:.64} is the only class, which every classifier is sure "
            "of; add classes, or remove prefer"
        )
    if len(real) == 1 and recipe.sampler.feedback is not None:
        raise SourceError(
            f"sampler.feedback: {listing.classes[0]!r:.64} is the only class, which every classifier is sure "
            "of; add classes, or remove feedback"
        )
    classes = balance_of(recipe, listing.classes, real)
    if not any(item.synthetic for item in classes):
        raise SourceError(
            f"nothing to make: every class has target_per_class ({recipe.target_per_class}) real images "
            "already; raise it"
        )
    return classes


def check_classes(listing: Listing) -> list[int]:
    """Return the number of real images of each class. Raises SourceError for no class, or an empty one."""
    if not listing.classes:
        raise SourceError("the source has no classes: check source")
    real: list[int] = np.bincount(listing.labels, minlength=len(listing.classes)).tolist()
    empty = [name for name, count in zip(listing.classes, real, strict=True) if count == 0]
    if empty:
        raise SourceError(
            f"no real image of class {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}: "
            "every class needs at least one; add images, or leave the class out with source.classes"
        )
    return real


def balance_of(recipe: Recipe, names: Sequence[str], real: Sequence[int]) -> list[ClassBalance]:
    """Return the balance of classes, given their names and the number of real images of each."""
    return [
        ClassBalance(label, name, group_of(count, recipe.source.groups), count, recipe.synthetic_for(count))
        for label, (name, count) in enumerate(zip(names, real, strict=True))
    ]


def group_of(real: int, groups: Groups) -> Group:
    """Return a class's group by the number of its real training images (Liu et al. 2019)."""
    if real > groups.many_above:
        return "many"
    return "few" if real < groups.few_below else "medium"


def make_plan(recipe: Recipe, listing: Listing) -> Plan:
    """Plan every image: seed and pair keyed by (recipe seed, class, index), each block in a shuffled order.

    A class's k-th image has the same seed and pair whatever its target, and an earlier block the same order
    whatever comes after it. Pairs are drawn uniformly without replacement; a class with one image pairs it
    with itself. With levels the first of a pair are the class's real images one after another, each once at
    every level. Raises SourceError if nothing is to be made, or a block of the recipe would have no image.
    """
    classes = balance(recipe, listing)
    counts = block_counts(recipe, classes)
    fault = next(block_faults(recipe, counts), None)
    if fault is not None:
        raise SourceError(fault)
    drawn = draw_all(recipe.seed, classes, counts, recipe.conditioning.levels)
    # Sorted once: the cost stays linear in images, however many classes there are.
    by_class = np.argsort(listing.labels, kind="stable").astype(np.int32)
    drawn.members[:] += first_members(classes)[drawn.labels][:, None]
    return Plan(
        drawn.labels,
        drawn.seeds,
        by_class[drawn.members],
        METHODS[recipe.conditioning.method].sources,
        blocks_of(recipe, counts),
        recipe.sampler.batch_size,
        drawn.levels,
    )


def block_counts(recipe: Recipe, classes: Sequence[ClassBalance]) -> NDArray[np.int64]:
    """Return (B, C) int64: how many images each class has at the end of each block.

    The last row is what the recipe asks for now, the others what its earlier targets asked for. Raises
    SourceError if there are more of both than a plan holds.
    """
    blocks = 1 + len(recipe.grown)
    if blocks * len(classes) > _MOST_COUNTS:
        raise SourceError(
            f"grown: {blocks:,} versions of {len(classes):,} classes are more than the {_MOST_COUNTS:,} "
            "counts that a plan holds; give the recipe another name, and begin anew"
        )
    real = np.array([item.real for item in classes], dtype=np.int64)
    counts = np.empty((blocks, len(classes)), dtype=np.int64)
    for row, block in zip(counts, recipe.earlier, strict=False):
        row[:] = block.target if recipe.target_per_class is None else np.maximum(0, block.target - real)
        if block.classes is not None:
            row[block.classes :] = 0
    counts[-1] = [item.synthetic for item in classes]
    return counts


def block_faults(recipe: Recipe, counts: NDArray[np.int64]) -> Iterator[str]:
    """Yield what the blocks of a recipe cannot be: without an image, or of more classes than there are."""
    for number, block in enumerate(recipe.earlier):
        if block.classes is not None and block.classes > counts.shape[1]:
            yield (
                f"grown: entry {number + 1} has {block.classes:,} classes, there are {counts.shape[1]:,}: "
                "a release keeps its classes"
            )
    shards = blocks_of(recipe, counts).shards
    if shards > _MOST_SHARDS:
        yield f"output.shard_size: makes {shards:,} shards, a release has {_MOST_SHARDS:,} at most; raise it"
    for number in np.flatnonzero(_added(counts).sum(axis=1) == 0).tolist():
        what = f"entry {number + 1}" if number < len(counts) - 1 else "what comes after the last entry"
        yield f"grown: {what} adds no image to those before; remove an entry, or raise the target"


def blocks_of(recipe: Recipe, counts: NDArray[np.int64]) -> Blocks:
    """Return how the images of a recipe are divided into blocks and shards."""
    return Blocks(tuple(_added(counts).sum(axis=1).tolist()), recipe.output.shard_size)


def _added(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (B, C): how many images each block adds to each class."""
    return np.diff(counts, axis=0, prepend=0)


def draw_all(seed: int, classes: Sequence[ClassBalance], counts: NDArray[np.int64], levels: int) -> Draws:
    """Draw labels, seeds and places for every image; which real images have the places comes later.

    `counts` is what `block_counts` returns, `levels` how many the recipe has, 0 for none.
    """
    columns = [_draw_class(seed, item, levels) for item in classes]
    drawn = [_block(seed, number, columns, counts) for number in range(len(counts))]
    del columns
    found = drawn[0] if len(drawn) == 1 else _joined(drawn)
    if not levels:
        return found
    return replace(found, levels=(numbers_in_class(seed, counts) % levels).astype(np.int32))


def numbers_in_class(seed: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) int64, in release order: which of the images planned for its class each one is, from 0.

    A class's k-th image is the same whatever its target. `counts` is what `block_counts` returns.
    """
    blocks = []
    for number in range(len(counts)):
        numbers = np.concatenate([np.arange(part.start, part.stop) for _, part in _added_in(number, counts)])
        blocks.append(numbers[_order(seed, number, len(numbers))])
    return np.concatenate(blocks)


def _block(seed: int, number: int, columns: Sequence[Columns], counts: NDArray[np.int64]) -> Draws:
    """Return the draws of one block in its own shuffled order."""
    added = _added_in(number, counts)
    labels, seeds, members = (
        np.concatenate([columns[label][kind][part] for label, part in added]) for kind in range(3)
    )
    order = _order(seed, number, len(labels))
    # One column after another, so that the unsorted one is freed: at most 40 bytes an image.
    labels = labels[order]
    seeds = seeds[order]
    members = members[order]
    return Draws(labels, seeds, members)


def _added_in(number: int, counts: NDArray[np.int64]) -> list[tuple[int, slice]]:
    """Return the classes to which a block adds images, each with the images of the class that it adds."""
    starts = counts[number - 1] if number else np.zeros(counts.shape[1], dtype=np.int64)
    # Not all classes: a block may add to a few of very many.
    grows = np.flatnonzero(counts[number] > starts).tolist()
    return [(label, slice(int(starts[label]), int(counts[number, label]))) for label in grows]


def _order(seed: int, number: int, images: int) -> NDArray[np.int64]:
    """Return the shuffled order of a block's images."""
    return np.random.Generator(_philox(seed, _ORDER - number)).permutation(images)


def _joined(drawn: Sequence[Draws]) -> Draws:
    return Draws(
        np.concatenate([block.labels for block in drawn]),
        np.concatenate([block.seeds for block in drawn]),
        np.concatenate([block.members for block in drawn]),
    )


def first_members(classes: Sequence[ClassBalance]) -> NDArray[np.int32]:
    """Return (C,) int32: where each class begins among all real images, sorted by class."""
    counts = np.array([item.real for item in classes])
    starts: NDArray[np.int32] = (np.cumsum(counts) - counts).astype(np.int32)
    return starts


def _draw_class(seed: int, item: ClassBalance, levels: int) -> Columns:
    raw = _philox(seed, item.label).random_raw(3 * item.synthetic).reshape(item.synthetic, 3)
    count = np.uint64(item.real)
    # Modulo of 64 random bits: for a class of a million images the bias is below 1e-13.
    first, apart = raw[:, 1] % count, raw[:, 2]
    if levels:
        rounds = np.arange(item.synthetic) // levels
        # A real image has the same partner at all levels.
        first, apart = _in_turn(seed, item, rounds), apart[rounds * levels]
    second = (first + 1 + apart % (count - 1)) % count if count > 1 else first
    members = np.stack([first, second], axis=1).astype(np.int32)
    labels = np.full(item.synthetic, item.label, dtype=np.int32)
    return labels, raw[:, 0] >> np.uint64(1), members


def _in_turn(seed: int, item: ClassBalance, rounds: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the place of the real image of each round, (N,): all of the class once, before any again.

    They follow each other at a step that shares no divisor with their number, from a place that is drawn: a
    shuffled order would take memory for as many real images as a forged manifest says there are.
    """
    start, step = (int(number) % item.real for number in _philox(seed, item.label).jumped().random_raw(2))
    while math.gcd(step, item.real) > 1:
        step = (step + 1) % item.real
    turns = (rounds % item.real).astype(np.uint64)
    return (np.uint64(start) + turns * np.uint64(step)) % np.uint64(item.real)


def _philox(seed: int, word: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, word], dtype=np.uint64))
