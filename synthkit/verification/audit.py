"""Compares audit.json with the release: its totals, its limits, and each pair that it lists.

Only another audit, with the real images and the model, can check which images are near to which.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from synthkit.sources.base import is_relative_id
from synthkit.verification.duplicates import are_limits, duplicate_faults, is_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from synthkit.release.audit import Audit, Pair
    from synthkit.release.likeness import Limits
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance

# Similarities are rounded to four digits, and rounding may lift a cosine above 1.
_ROUNDED = 1e-4


def audit_faults(manifest: Manifest, found: Audit, records: Mapping[str, Provenance]) -> Iterator[str]:
    """Yield what an audit says differently from its release; `records` are those of the listed images."""
    yield from _totals(manifest, found)
    yield from _order(found)
    for pair in found.pairs:
        reason = _pair(pair, found, manifest, records.get(pair.key))
        if reason:
            yield f"{pair.key:.20}: {reason}"
    if (found.duplicates is None) is not (manifest.format_version == 1):
        yield f"says {'nothing' if found.duplicates is None else 'something'} of near duplicates"
    elif found.duplicates is not None:
        yield from duplicate_faults(manifest, found.duplicates, records)


def _totals(manifest: Manifest, found: Audit) -> Iterator[str]:
    from synthkit.release.audit import facts_of

    if manifest.audit != facts_of(found):
        yield "has other numbers than the manifest"
    if (found.images, found.pool) != (manifest.images, manifest.source.images):
        yield (
            f"compares {found.images:,} images with {found.pool:,} real ones; the release has "
            f"{manifest.images:,}, made from {manifest.source.images:,}"
        )
    counts_fit = (
        0 <= found.exact <= found.suspected <= found.images
        and 0 <= found.suspected_of_held_out <= found.suspected
        and found.held_out >= (found.suspected_of_held_out > 0)
    )
    if not counts_fit:
        yield "has counts that do not fit each other"
    if not are_limits(found.limits):
        yield "has limits that no audit accepts"


def _order(found: Audit) -> Iterator[str]:
    from synthkit.release.audit import KEPT_PAIRS, QUANTILES, suspicion

    pairs = found.pairs
    if len(pairs) != min(found.images, KEPT_PAIRS) or len({pair.key for pair in pairs}) != len(pairs):
        yield f"shows {len(pairs)} pairs, not the {min(found.images, KEPT_PAIRS)} that are most suspicious"
    if any(suspicion(one) < suspicion(next_one) for one, next_one in pairwise(pairs)):
        yield "does not show the most suspicious pairs first"
    whole = len(pairs) == found.images or not (pairs and pairs[-1].suspected)
    for name, said, shown in (
        ("suspected", found.suspected, sum(pair.suspected for pair in pairs)),
        ("exact", found.exact, sum(pair.exact for pair in pairs)),
        (
            "suspected_of_held_out",
            found.suspected_of_held_out,
            sum(pair.suspected and pair.part == "held out" for pair in pairs),
        ),
    ):
        if said < shown or (whole and said != shown):
            yield f"says {name} is {said}, its pairs show {shown}"
    names = [f"{share:g}" for share in QUANTILES]
    for quantiles in (found.synthetic_to_real, found.real_to_real):
        values = list(quantiles.values())
        if list(quantiles) != names or values != sorted(values) or not all(map(_is_cosine, values)):
            yield "has quantiles that no audit writes"
    largest = max((pair.similarity for pair in pairs), default=0)
    stated = found.synthetic_to_real.get(names[-1], 0)
    if stated < largest - _ROUNDED or (len(pairs) == found.images and stated > largest + _ROUNDED):
        yield f"says the largest similarity is {stated:g}, its pairs show {largest:g}"


def _is_cosine(value: float) -> bool:
    return -1 - _ROUNDED <= value <= 1 + _ROUNDED


def _pair(pair: Pair, found: Audit, manifest: Manifest, record: Provenance | None) -> str:
    """Return what is wrong with a pair, or an empty string."""
    if not is_key(pair.key, manifest.images):
        return "its pair names an image that the release does not have"
    if not is_relative_id(pair.real) or not 0 <= pair.distance <= 64 or not _is_cosine(pair.similarity):
        return "its pair has no real image, distance or similarity"
    if pair.part == "held out" and not found.held_out:
        return "its pair is with a held-out image, and none was compared"
    if pair.suspected is not _suspected(pair, found.limits):
        return f"its pair says suspected is {pair.suspected}, by its numbers it is not so"
    if record is None:
        return ""
    if pair.class_name != record.class_name:
        return f"its pair's class is {pair.class_name!r:.64}, its record's {record.class_name!r:.64}"
    if pair.source is not (pair.real in {source.id for source in record.sources}):
        return f"its pair says source is {pair.source}, its record says otherwise"
    pool = manifest.source.pool
    if pair.part == "pool" and pool is not None and pair.real not in {item.id for item in pool}:
        return f"its pair's real image {pair.real!r:.64} is not in the pool"
    return ""


def _suspected(pair: Pair, limits: Limits) -> bool:
    by_others = pair.exact or pair.distance <= limits.distance
    if not by_others and abs(pair.similarity - limits.similarity) <= _ROUNDED:
        # The digits that were rounded away decide: accept what the audit says.
        return pair.suspected
    return by_others or pair.similarity >= limits.similarity
