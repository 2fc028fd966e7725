"""The `grown` field of a recipe: what earlier versions of a release asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from synthkit.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

# How many earlier versions a release may have grown from.
MOST_EARLIER = 1000


class Earlier(Section):
    """What an earlier version of a release asked for: its images come first, and stay as they are."""

    target: int = Field(
        ge=1,
        le=10_000_000,
        description="Its target_per_class, or synthetic_per_class if the recipe has that.",
    )
    classes: int | None = Field(
        None, ge=1, description="How many classes it had, if classes were added after it."
    )

    def has(self, label: int) -> bool:
        """Return whether the version had a class."""
        return self.classes is None or label < self.classes


def as_earlier(item: int | Earlier) -> Earlier:
    """Return an entry of `grown`, of which a number is short for a target of all classes."""
    return item if isinstance(item, Earlier) else Earlier(target=item)


def growth_fault(grown: Sequence[int | Earlier], now: int) -> str:
    """Return why earlier versions do not lead to a target; an empty text if they do."""
    steps = [*map(as_earlier, grown), Earlier(target=now)]
    for number, (before, after) in enumerate(pairwise(steps), start=1):
        if after.target < before.target:
            what = f"entry {number + 1} of grown" if number < len(grown) else "the target now"
            return f"{what} is {after.target:,}, below {before.target:,} of entry {number}: targets rise"
        if _classes(after) < _classes(before):
            return f"entry {number} has more classes than what follows it: classes are only added"
        if (after.target, _classes(after)) == (before.target, _classes(before)):
            return f"entry {number} asks for the same as what follows it: remove it"
    return ""


def _classes(item: Earlier) -> float:
    """Return how many classes a version had; infinite if it had all that there are."""
    return float("inf") if item.classes is None else item.classes
