"""The rules for what quality gates leave in a record: its attempt, its scores, and the reasons of rejections.

The draws themselves are not here. But the numbers that the kept draw was judged by are, and the verdict
follows from them.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from synthkit.release.candidates import kept_although_rejected
from synthkit.release.records import Provenance2, candidates_of, key_of
from synthkit.release.scores import (
    COPY,
    DEVIATION,
    PROBABILITY,
    RANK,
    REPEAT,
    is_rounded,
    measured,
    rejection,
)
from synthkit.verification.candidate_rules import candidate_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from synthkit.recipe.filters import Filters
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance, Score

_NUMBER = r"(-?\d{1,9}\.\d{1,9})"
# Why a draw was rejected, as `release/scores.py` writes it: reasons of one gate or several, in this order.
_REASON = re.compile(
    rf"(?:blank: deviation {_NUMBER}(?:; |\Z))?"
    rf"(?:near-copy: similarity {_NUMBER} to (.+?)(?:; (?=label-agreement: |near-duplicate: )|\Z))?"
    rf"(?:label-agreement: (?:rank (\d{{1,9}}), nearest is (.+?)|probability {_NUMBER})"
    r"(?:; (?=near-duplicate: )|\Z))?"
    rf"(?:near-duplicate: similarity {_NUMBER} to ([0-9]{{9,18}}))?",
    re.DOTALL,
)
_KEY = re.compile(r"[0-9]{9,18}")
# Half of the greys black, half white.
_MOST_DEVIATION = 127.5


class GateRules:
    """What the gates of a recipe can have said of an image, when there were so many `classes`.

    `order` says which images a release has, one after the other; None if that is not known.
    """

    def __init__(
        self, filters: Filters | None, manifest: Manifest, classes: int, order: Order | None = None
    ) -> None:
        self._filters, self._ranks, self._order = filters, classes, order
        self._classes = frozenset(item.name for item in manifest.classes[:classes])
        pool = manifest.source.pool
        self._pool = None if pool is None else frozenset(item.id for item in pool if item.label < classes)

    def faults(self, index: int, record: Provenance) -> Iterator[str]:
        """Yield what the record of the image with an index says of gates that they cannot have said."""
        yield from attempt_faults(record, self._filters, self._ranks)
        if self._filters is not None:
            for reason in record.rejected:
                if not self._is_reason(reason, index, record, self._filters):
                    yield f"its record's rejected says {reason!r:.80}, which no gate of the recipe says"
        if isinstance(record, Provenance2):
            yield from self._of_scores(index, record)

    def _of_scores(self, index: int, record: Provenance2) -> Iterator[str]:
        said, wanted = [item.name for item in record.scores], list(self._wanted(index, record))
        if said != wanted:
            yield f"its record's scores are {_listed(said)}, by the recipe they are {_listed(wanted)}"
            return
        impossible = [item for item in record.scores if not self._is_possible(item, index, record)]
        yield from (f"its record's scores say {shown(item)}, which cannot be" for item in impossible)
        if impossible or self._filters is None:
            return
        reason = rejection(record.scores, self._filters)
        # Without a draw to keep or to reject, that is told already.
        rejected = kept_although_rejected(record) and bool(record.rejected)
        if reason and not rejected:
            yield f"its record's scores say {reason:.80}, and its draw was not rejected"
        if rejected and reason != record.rejected[-1]:
            last = record.rejected[-1]
            yield f"its record's rejected ends with {last!r:.80}, by its scores it is {reason!r:.80}"

    def _wanted(self, index: int, record: Provenance2) -> Iterator[str]:
        """Yield the names of the scores that a record must have."""
        for name in measured(self._filters):
            # An image that was made from the prompt alone has no real images to be a copy of.
            own = name == COPY and self._of_own_sources
            # So has the first image of a class none that it could repeat.
            first = name == REPEAT and self._order is not None and self._order.is_first(index)
            if not first and (record.sources or not own):
                yield name

    @property
    def _of_own_sources(self) -> bool:
        gate = self._filters.near_copy if self._filters else None
        return gate is not None and gate.among == "sources"

    def _is_possible(self, item: Score, index: int, record: Provenance2) -> bool:
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
        if item.name == REPEAT:
            return -1 <= item.value <= 1 and self._is_earlier(item.nearest, index)
        return -1 <= item.value <= 1 and self._is_real(item.nearest, record)

    def _is_real(self, name: str, record: Provenance) -> bool:
        """Return whether an id can be that of a real image with which an image was compared."""
        if self._of_own_sources:
            return name in {source.id for source in record.sources}
        return name in self._pool if self._pool is not None else bool(name)

    def _is_earlier(self, key: str, index: int) -> bool:
        """Return whether a key is that of an image before another one in its class."""
        if not _KEY.fullmatch(key) or key_of(int(key)) != key or int(key) >= index:
            return False
        return self._order is None or self._order.are_alike(int(key), index)

    def _is_reason(self, reason: str, index: int, record: Provenance, filters: Filters) -> bool:
        """Return whether the gates of the recipe can have given a reason, whose numbers are rounded."""
        found = _REASON.fullmatch(reason)
        if found is None or not reason or reason.endswith("; "):
            return False
        deviation, similarity, image, rank, nearest, probability, repeated, key = found.groups()
        blank, copy, label = filters.blank, filters.near_copy, filters.label_agreement
        if deviation and (blank is None or float(deviation) > blank.min_deviation + 0.01):
            return False
        if similarity and (copy is None or float(similarity) < copy.max_similarity - 0.001):
            return False
        if image and not self._is_real(image, record):
            return False
        repeat = filters.near_duplicate
        if repeated and (repeat is None or float(repeated) < repeat.max_similarity - 0.001):
            return False
        if key and not self._is_earlier(key, index):
            return False
        if rank and (label is None or int(rank) <= label.max_rank or nearest not in self._classes):
            return False
        return not probability or (label is not None and float(probability) <= label.min_probability + 0.001)


class Order:
    """Which class each image of a release is of, (N,) `labels` in the order of the release."""

    def __init__(self, labels: NDArray[np.int32]) -> None:
        self._labels = labels
        self._firsts = frozenset(np.unique(labels, return_index=True)[1].tolist())

    def is_first(self, index: int) -> bool:
        """Return whether an image is the first one of its class."""
        return index in self._firsts

    def are_alike(self, one: int, other: int) -> bool:
        """Return whether two images are of the same class."""
        return max(one, other) < len(self._labels) and bool(self._labels[one] == self._labels[other])


def attempt_faults(record: Provenance, filters: Filters | None, classes: int) -> Iterator[str]:
    """Yield a fault if the recipe does not allow a record's attempt, or a draw is not told as it must be."""
    draws = draws_allowed(filters)
    if record.attempt >= draws:
        yield f"its record's attempt is {record.attempt}, the recipe allows {draws} draw(s)"
        return
    if filters is not None and candidates_of(record) is not None:
        yield from candidate_faults(record, filters, classes)
        return
    # The last draw is kept even if it is rejected.
    last = filters is not None and record.attempt + 1 == draws
    if len(record.rejected) not in (record.attempt, record.attempt + last):
        yield f"its record's rejected has {len(record.rejected)} reason(s) at attempt {record.attempt}"


def draws_allowed(filters: Filters | None) -> int:
    """Return how many draws of an image a recipe allows."""
    return 1 if filters is None else filters.most_draws


def shown(item: Score) -> str:
    """Return a score in words."""
    return f"{item.name:.64} {item.value:g}" + (f" ({item.nearest:.64})" if item.nearest else "")


def _listed(names: list[str]) -> str:
    return ", ".join(name[:32] for name in names) or "none"
