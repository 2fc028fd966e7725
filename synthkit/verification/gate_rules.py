"""The rules for what quality gates leave in a record: its attempt, its scores, and the reasons of rejections.

The draws themselves are not here. But the numbers that the kept draw was judged by are, and the verdict
follows from them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from synthkit.release.records import Provenance2
from synthkit.release.scores import COPY, DEVIATION, PROBABILITY, RANK, is_rounded, measured, rejection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.recipe.filters import Filters
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance, Score

_NUMBER = r"(-?\d{1,9}\.\d{1,9})"
# Why a draw was rejected, as `release/scores.py` writes it: reasons of one gate or several, in this order.
_REASON = re.compile(
    rf"(?:blank: deviation {_NUMBER}(?:; |\Z))?"
    rf"(?:near-copy: similarity {_NUMBER} to (.+?)(?:; (?=label-agreement: )|\Z))?"
    rf"(?:label-agreement: (?:rank (\d{{1,9}}), nearest is (.+)|probability {_NUMBER}))?",
    re.DOTALL,
)
# Half of the greys black, half white.
_MOST_DEVIATION = 127.5


class GateRules:
    """What the gates of a recipe can have said of an image, when there were so many `classes`."""

    def __init__(self, filters: Filters | None, manifest: Manifest, classes: int) -> None:
        self._filters, self._ranks = filters, classes
        self._classes = frozenset(item.name for item in manifest.classes[:classes])
        pool = manifest.source.pool
        self._pool = None if pool is None else frozenset(item.id for item in pool if item.label < classes)

    def faults(self, record: Provenance) -> Iterator[str]:
        """Yield what a record says of gates that they cannot have said."""
        yield from attempt_faults(record, self._filters)
        if self._filters is not None:
            for reason in record.rejected:
                if not self._is_reason(reason, record, self._filters):
                    yield f"its record's rejected says {reason!r:.80}, which no gate of the recipe says"
        if isinstance(record, Provenance2):
            yield from self._of_scores(record)

    def _of_scores(self, record: Provenance2) -> Iterator[str]:
        said, wanted = [item.name for item in record.scores], list(self._wanted(record))
        if said != wanted:
            yield f"its record's scores are {_listed(said)}, by the recipe they are {_listed(wanted)}"
            return
        impossible = [item for item in record.scores if not self._is_possible(item, record)]
        yield from (f"its record's scores say {shown(item)}, which cannot be" for item in impossible)
        if impossible or self._filters is None:
            return
        reason = rejection(record.scores, self._filters)
        rejected = len(record.rejected) > record.attempt
        if reason and not rejected:
            yield f"its record's scores say {reason:.80}, and its draw was not rejected"
        if rejected and reason != record.rejected[-1]:
            last = record.rejected[-1]
            yield f"its record's rejected ends with {last!r:.80}, by its scores it is {reason!r:.80}"

    def _wanted(self, record: Provenance2) -> Iterator[str]:
        """Yield the names of the scores that a record must have."""
        for name in measured(self._filters):
            # An image that was made from the prompt alone has no real images to be a copy of.
            if name != COPY or record.sources or not self._of_own_sources:
                yield name

    @property
    def _of_own_sources(self) -> bool:
        gate = self._filters.near_copy if self._filters else None
        return gate is not None and gate.among == "sources"

    def _is_possible(self, item: Score, record: Provenance2) -> bool:
        """Return whether a score has a value, and a nearest thing, that the gate can have given."""
        if not math.isfinite(item.value) or not is_rounded(item.value):
            return False
        if item.name == DEVIATION:
            return 0 <= item.value <= _MOST_DEVIATION and not item.nearest
        if item.name == PROBABILITY:
            return 0 <= item.value <= 1 and not item.nearest
        if item.name == RANK:
            own = item.nearest == record.class_name
            whole = item.value.is_integer() and 1 <= item.value <= self._ranks
            return whole and item.nearest in self._classes and (item.value > 1 or own)
        return -1 <= item.value <= 1 and self._is_real(item.nearest, record)

    def _is_real(self, name: str, record: Provenance) -> bool:
        """Return whether an id can be that of a real image with which an image was compared."""
        if self._of_own_sources:
            return name in {source.id for source in record.sources}
        return name in self._pool if self._pool is not None else bool(name)

    def _is_reason(self, reason: str, record: Provenance, filters: Filters) -> bool:
        """Return whether the gates of the recipe can have given a reason, whose numbers are rounded."""
        found = _REASON.fullmatch(reason)
        if found is None or not reason or reason.endswith("; "):
            return False
        deviation, similarity, image, rank, nearest, probability = found.groups()
        blank, copy, label = filters.blank, filters.near_copy, filters.label_agreement
        if deviation and (blank is None or float(deviation) > blank.min_deviation + 0.01):
            return False
        if similarity and (copy is None or float(similarity) < copy.max_similarity - 0.001):
            return False
        if image and not self._is_real(image, record):
            return False
        if rank and (label is None or int(rank) <= label.max_rank or nearest not in self._classes):
            return False
        return not probability or (label is not None and float(probability) <= label.min_probability + 0.001)


def attempt_faults(record: Provenance, filters: Filters | None) -> Iterator[str]:
    """Yield a fault if the recipe does not allow a record's attempt, or a rejection lacks its reason."""
    draws = draws_allowed(filters)
    if record.attempt >= draws:
        yield f"its record's attempt is {record.attempt}, the recipe allows {draws} draw(s)"
        return
    # The last draw is kept even if it is rejected.
    last = filters is not None and record.attempt + 1 == draws
    if len(record.rejected) not in (record.attempt, record.attempt + last):
        yield f"its record's rejected has {len(record.rejected)} reason(s) at attempt {record.attempt}"


def draws_allowed(filters: Filters | None) -> int:
    """Return how many draws of an image a recipe allows."""
    return 1 if filters is None else filters.max_draws


def shown(item: Score) -> str:
    """Return a score in words."""
    return f"{item.name:.64} {item.value:g}" + (f" ({item.nearest:.64})" if item.nearest else "")


def _listed(names: list[str]) -> str:
    return ", ".join(name[:32] for name in names) or "none"
