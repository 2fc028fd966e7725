"""A record of a release against the same record made again: which of its fields are false.

Made again it has what the recipe, the real images and the model give. Label, seed and real images, which
a replay takes from the record itself, are held against the plan; earlier draws, which quality gates
rejected, are not made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.release.records import Provenance
from synthkit.verification.derived_plan import ORDINALS, derive
from synthkit.verification.record_rules import attempt_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest
    from synthkit.sources.base import Listing

# Held against the image or the plan, or by rules of their own.
_ELSEWHERE = frozenset({"key", "label", "seed", "sources", "image_sha256", "attempt", "rejected"})
# What differs by less is another processor's last bit.
_SAME = 1e-9


class RecordCheck:
    """What records must say; `listing` is that of the real images here, or None where there are none."""

    def __init__(self, manifest: Manifest, recipe: Recipe, listing: Listing | None) -> None:
        self._manifest, self._recipe, self._listing = manifest, recipe, listing
        self._plan = derive(recipe, manifest, METHODS[recipe.conditioning.method].sources)
        self._positions = {name: place for place, name in enumerate(listing.ids)} if listing else {}
        self._by_class = _by_class(manifest, listing) if listing else None

    def false(self, said: Provenance, made: Provenance) -> Iterator[str]:
        """Each false field of a record, in words; `made` is the record made again."""
        for name in Provenance.__struct_fields__:
            if name in _ELSEWHERE:
                continue
            theirs, ours = getattr(said, name), getattr(made, name)
            if name == "synthkit_version":
                # The one that makes it again may be a later one.
                ours = self._manifest.environment.get(name.removesuffix("_version"))
            if not _equal(theirs, ours):
                yield f"its record's {name} is {_shown(theirs)}, made again it is {_shown(ours)}"
        yield from self._planned(said)
        yield from self._real_images(said)
        yield from attempt_faults(said, self._recipe.filters)

    def _planned(self, said: Provenance) -> Iterator[str]:
        if self._plan is not None:
            yield from (fault.partition(": ")[2] for fault in self._plan.faults(int(said.key), [said]))

    def _real_images(self, said: Provenance) -> Iterator[str]:
        """Whether they are of the record's class, and the ones that the plan takes."""
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


def _by_class(manifest: Manifest, listing: Listing) -> NDArray[np.intp] | None:
    """The positions of all real images, class by class, if as many are here as the release was made from."""
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
