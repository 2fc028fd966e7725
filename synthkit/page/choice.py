"""Choose which images of a release a page shows: by a rule that the page states, never by hand."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# The most bytes of a page, and of its pictures and words about images; the rest is room for everything else.
MOST_BYTES = 15_000_000
_ROOM = 12_500_000
# The most classes of which images are shown; all of them would have no room.
MOST_CLASSES = 1_200


class Plan(NamedTuple):
    """How many images of each class a page shows; the longest edge in pixels of these and of real ones."""

    per_class: int
    edge: int
    source_edge: int


# From the most generous to the thriftiest.
PLANS = (
    Plan(24, 256, 256),
    Plan(24, 192, 128),
    Plan(20, 160, 96),
    Plan(16, 128, 96),
    Plan(12, 128, 64),
    Plan(12, 96, 64),
    Plan(8, 96, 48),
    Plan(6, 96, 48),
    Plan(4, 96, 48),
    Plan(3, 96, 48),
    Plan(3, 80, 40),
    Plan(2, 80, 40),
    Plan(2, 64, 32),
    Plan(1, 64, 32),
    Plan(1, 48, 24),
    Plan(0, 48, 24),
)


def plans_that_fit(images_of: Callable[[Plan], int], bytes_of: Callable[[Plan], float]) -> Sequence[Plan]:
    """Return the plans whose images have room, the most generous first; the last one always counts as one.

    `images_of` returns how many images a plan shows, `bytes_of` how many bytes one of them is expected to
    take: it is asked of few plans, since it makes some images to know.
    """

    def fits(plan: Plan) -> bool:
        return images_of(plan) * bytes_of(plan) <= _ROOM

    return PLANS[bisect_left(PLANS[:-1], True, key=fits) :]


def shown_labels(labels: Sequence[int], most: int = MOST_CLASSES) -> list[int]:
    """Return at most so many labels, evenly spread, with the first and the last."""
    if len(labels) <= most:
        return list(labels)
    return [labels[round(i * (len(labels) - 1) / (most - 1))] for i in range(most)]


def pick(indices: NDArray[np.int64], count: int, seed: int, label: int) -> NDArray[np.int64]:
    """Return `count` of a class's indices (N,), which ascend: one of each of so many equal stretches.

    Which one of a stretch is decided by a number drawn from the seed and the label (Philox, Salmon 2011), so
    that the choice is spread over the whole class and nobody makes it.
    """
    if len(indices) <= count:
        return indices
    ends = len(indices) * np.arange(count + 1) // max(count, 1)
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, label], dtype=np.uint64)))
    places = ends[:-1] + (rng.random(count) * np.diff(ends)).astype(np.int64)
    return indices[places]


def by_class(labels: NDArray[np.int64], wanted: Sequence[int]) -> dict[int, NDArray[np.int64]]:
    """Return the indices of the images of some classes, (N,) labels sorted once."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], wanted, side="left")
    ends = np.searchsorted(labels[order], wanted, side="right")
    return {label: order[start:end] for label, start, end in zip(wanted, starts, ends, strict=True)}


def told_rule(plan: Plan, seed: int) -> str:
    """Return the rule in words."""
    if plan.per_class == 0:
        return "There is no room for images of so many classes."
    if plan.per_class == 1:
        how = f"One image of each class, picked by a number drawn from the seed {seed}."
    else:
        how = (
            f"At most {plan.per_class} images of each class. Where it has more, they are cut, in the order "
            f"of their keys, into {plan.per_class} equal stretches, and a number drawn from the seed {seed} "
            "picks one of each."
        )
    return f"{how} Nobody chose them by their looks."
