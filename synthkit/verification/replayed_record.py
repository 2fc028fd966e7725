"""Compares a record of a release with the record that a replay makes, and finds the fields that are false.

The replayed record has what the recipe, the real images and the model give. A replay takes label, seed and
real images from the record it checks, so these are compared with the plan. Draws that quality gates rejected
are not made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.levels import Levels
from synthkit.release.prompts import first_source
from synthkit.release.records import Provenance2, candidates_of
from synthkit.release.scores import RANK
from synthkit.release.seeds import attempt_seed
from synthkit.verification.candidate_rules import told
from synthkit.verification.derived_plan import ORDINALS, derive
from synthkit.verification.gate_rules import attempt_faults, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.release.prompts import Prompts
    from synthkit.release.records import Candidate, Provenance, Score
    from synthkit.sources.base import Listing

# Fields that are compared with the image or the plan, or have rules of their own.
_ELSEWHERE = frozenset(
    {
        *("key", "label", "seed", "sources", "image_sha256", "attempt", "rejected", "scores", "candidates"),
        "similarity",
    }
)
# Smaller differences come from the rounding of another processor.
_SAME = 1e-9
# By so much scores of the same image differ between processors: they multiply in another order, some with
# fewer digits. On one platform they are the same.
_NEAR = 0.01
# The same of log-odds, in which each of two similarities counts a hundredfold.
_NEAR_LOG_ODDS = 2.0


class RecordCheck:
    """Checks records; `listing` lists the real images on this machine, and is None if there are none."""

    def __init__(self, manifest: Manifest, recipe: Recipe, listing: Listing | None, prompts: Prompts) -> None:
        self._prompts = prompts
        self._manifest, self._recipe, self._listing = manifest, recipe, listing
        self._plan = derive(recipe, manifest, METHODS[recipe.conditioning.method].sources)
        self._positions = {name: place for place, name in enumerate(listing.ids)} if listing else {}
        self._by_class = _by_class(manifest, listing) if listing else None

    def level_of(self, said: Provenance) -> int:
        """Return which of the recipe's levels an image has, from 0: by the plan, or if none fits, its record.

        It is 0 if the recipe has no levels, or the record a number that is none of them.
        """
        if self._plan is not None and int(said.key) < len(self._plan.draws.seeds):
            return self._plan.draws.level(int(said.key))
        conditioning = self._recipe.conditioning
        for name in ("scale", "strength"):
            amount = getattr(conditioning, name)
            if isinstance(amount, Levels) and getattr(said, name, None) in amount.levels:
                return amount.levels.index(getattr(said, name))
        return 0

    def false(self, said: Provenance, made: Provenance) -> Iterator[str]:
        """Yield each false field of the record `said`, in words; `made` is the replayed record."""
        for name in type(said).__struct_fields__:
            if name in _ELSEWHERE:
                continue
            theirs, ours = getattr(said, name), getattr(made, name)
            if name == "synthkit_version":
                # The replay may run a later version than the build did.
                ours = self._manifest.environment_of(int(said.key)).get(name.removesuffix("_version"))
            if not _equal(theirs, ours):
                yield f"its record's {name} is {_shown(theirs)}, made again it is {_shown(ours)}"
        yield from self._prompt(said)
        yield from self._planned(said)
        yield from self._real_images(said)
        yield from attempt_faults(said, self._recipe.filters, len(self._manifest.classes))

    def _prompt(self, said: Provenance) -> Iterator[str]:
        """Yield a prompt that no caption gives; it was taken from the record, if the caption is not here."""
        seed, first = attempt_seed(said.seed, said.attempt), first_source(said)
        if not self._prompts.knows(said.label, seed, first):
            fault = self._prompts.fault(said.prompt, said.label, seed, first)
            if fault:
                yield f"its record's prompt is {_shown(said.prompt)}, {fault}"

    def _planned(self, said: Provenance) -> Iterator[str]:
        if self._plan is not None:
            yield from (fault.partition(": ")[2] for fault in self._plan.faults(int(said.key), [said]))

    def _real_images(self, said: Provenance) -> Iterator[str]:
        """Yield real images of another class, or others than the plan takes."""
        if self._listing is None:
            return
        for source in said.sources[:1]:
            name = self._listing.classes[self._listing.labels[self._positions[source.id]]]
            if name != said.class_name:
                yield f"its record's class_name is {_shown(said.class_name)}, its real image's {_shown(name)}"
        if self._plan is None or self._plan.pool is not None or self._by_class is None:
            return
        places = self._plan.places_of(int(said.key))
        for ordinal, source, place in zip(ORDINALS, said.sources, places, strict=False):
            wanted = self._listing.ids[self._by_class[place]]
            if source.id != wanted:
                yield f"its record's {ordinal} real image is {source.id:.64}, by the plan it is {wanted:.64}"


def score_faults(said: Provenance, made: Sequence[Score], *, same_platform: bool) -> Iterator[str]:
    """Yield each false score of a record, in words; `made` are those that were computed again.

    On another platform values may differ a little, and with them what is nearest.
    """
    theirs = {item.name: item for item in said.scores} if isinstance(said, Provenance2) else {}
    for ours in made:
        item = theirs.get(ours.name)
        if item is None:
            yield f"its record's scores lack {shown(ours)}"
        elif same_platform and item != ours:
            yield f"its record's scores say {shown(item)}, made again it is {shown(ours)}"
        elif ours.name != RANK and abs(item.value - ours.value) > _NEAR:
            yield f"its record's scores say {shown(item)}, made again on another platform it is {shown(ours)}"


def kept_faults(said: Provenance, made: Candidate | None, *, same_platform: bool) -> Iterator[str]:
    """Yield what a record falsely says of the candidate that is its image, in words.

    `made` is what was computed again; None if it cannot be here. On another platform values may differ.
    """
    theirs = next((item for item in candidates_of(said) or () if item.attempt == said.attempt), None)
    if theirs is None or made is None:
        return
    if same_platform and theirs != made:
        yield f"its record's candidates say {told(theirs)}, made again it is {told(made)}"
    elif abs(theirs.log_odds - made.log_odds) > _NEAR_LOG_ODDS:
        yield f"its record's candidates say {told(theirs)}, made again on another platform it is {told(made)}"


def _by_class(manifest: Manifest, listing: Listing) -> NDArray[np.intp] | None:
    """Return the positions of all real images, class by class; None if the counts are not the release's."""
    counts = np.bincount(listing.labels, minlength=len(listing.classes)).tolist()
    whole = counts == [item.real for item in manifest.classes]
    return np.argsort(listing.labels, kind="stable") if whole else None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _SAME
    return bool(one == other)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{list(value) if isinstance(value, tuple) else value!s}"[:64]
