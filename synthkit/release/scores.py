"""The scores of a draw: the numbers that quality gates judge it by, and the verdict that follows from them.

A build judges by these numbers as records state them, rounded, so that verification comes to the same verdict
from the record alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.release.records import Score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from synthkit.recipe.filters import Filters

# Each is named after the field of the recipe that limits it: `near_copy.similarity` is limited by
# `filters.near_copy.max_similarity`.
DEVIATION = "blank.deviation"
COPY = "near_copy.similarity"
RANK = "label_agreement.rank"
PROBABILITY = "label_agreement.probability"
REPEAT = "near_duplicate.similarity"
# In the order in which a record has them.
NAMES = (DEVIATION, COPY, RANK, PROBABILITY, REPEAT)
# Another processor sums in another order, which changes similarities in the seventh digit.
DIGITS = 6


def score(name: str, value: float, nearest: str = "") -> Score:
    """Return a score, its value rounded to six digits after the point; `nearest` is what it compares with."""
    return Score(name=name, value=rounded(value), nearest=nearest)


def rounded(value: float) -> float:
    """Return a number as records state it, with six digits after the point."""
    # Adding zero makes a zero of -0.0.
    return round(float(value), DIGITS) + 0.0


def is_rounded(value: float) -> bool:
    """Return whether a value has no more digits than a score has."""
    return round(value, DIGITS) == value


def measured(filters: Filters | None) -> tuple[str, ...]:
    """Return the names of the scores that the gates of a recipe give, in order."""
    if filters is None:
        return ()
    wanted = {
        DEVIATION: filters.blank is not None,
        COPY: filters.near_copy is not None,
        RANK: filters.label_agreement is not None,
        PROBABILITY: "label_agreement" in filters.classifiers,
        REPEAT: filters.near_duplicate is not None,
    }
    return tuple(name for name in NAMES if wanted[name])


def rejection(scores: Sequence[Score], filters: Filters) -> str:
    """Return why a draw with these scores is rejected, gate by gate; an empty text if it is not."""
    return "; ".join(_reasons({item.name: item for item in scores}, filters))


def _reasons(found: Mapping[str, Score], filters: Filters) -> Iterator[str]:
    blank, copy, label = filters.blank, filters.near_copy, filters.label_agreement
    deviation, similarity = found.get(DEVIATION), found.get(COPY)
    if blank and deviation and deviation.value < blank.min_deviation:
        yield f"blank: deviation {deviation.value:.2f}"
    if copy and similarity and similarity.value > copy.max_similarity:
        yield f"near-copy: similarity {similarity.value:.3f} to {similarity.nearest}"
    rank, probability = found.get(RANK), found.get(PROBABILITY)
    if label and rank and rank.value > label.max_rank:
        yield f"label-agreement: rank {rank.value:.0f}, nearest is {rank.nearest}"
    elif label and probability and probability.value < label.min_probability:
        yield f"label-agreement: probability {probability.value:.3f}"
    repeat, similarity = filters.near_duplicate, found.get(REPEAT)
    if repeat and similarity and similarity.value > repeat.max_similarity:
        yield f"near-duplicate: similarity {similarity.value:.3f} to {similarity.nearest}"
