"""What verification keeps of each shard until all shards are read, and where shards contradict each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from synthkit.release.audit import listed_keys, read_audit
from synthkit.release.files import AUDIT
from synthkit.release.filter_counts import FilterCounts
from synthkit.release.records import candidates_of, key_of
from synthkit.verification import retrieved_rules
from synthkit.verification.derived_plan import contradictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.release.audit import Audit
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance
    from synthkit.verification.derived_plan import NamedImages
    from synthkit.verification.record_rules import RecordRules
    from synthkit.verification.retrieved_rules import RetrievedRows


@dataclass(slots=True)
class ShardSummary:
    """What one shard says about the release as a whole.

    `first` is the index of its first image, `row_faults` are the faults of its rows in the table of
    records, `labels` counts its images by class. `real_images` are those that its records name, and
    `filters` counts its rejected draws; both are None where its records do not say. `records` are those
    that other files quote, `pixels` (N, 32) the digests of its decoded images. `retrieved` is what records
    say was retrieved, if anything was.
    """

    first: int
    row_faults: list[str]
    labels: Counter[int]
    real_images: NamedImages | None = None
    embedding_size: int | None = None
    filters: FilterCounts | None = None
    records: dict[str, Provenance] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = None
    retrieved: RetrievedRows | None = None

    def read(self, rules: RecordRules, records: Sequence[Provenance | None], wanted: frozenset[str]) -> None:
        """Take from the shard's records what is needed later; keep those whose keys are `wanted`."""
        known = [record for record in records if record is not None]
        self.embedding_size = rules.embedding_size(known)
        if rules.plan is not None and rules.plan.pool is None:
            self.real_images = rules.plan.named_images(self.first, records)
        if rules.retrieved is not None:
            self.retrieved = rules.retrieved.rows(known)
        if len(known) == len(records) and rules.filters is not None:
            self.filters = FilterCounts(rules.filters)
            self.filters.add(
                [record.attempt for record in known],
                [record.rejected for record in known],
                _ranks(known) if rules.filters.prefer else None,
            )
        self.records = {record.key: record for record in known if record.key in wanted}


@dataclass(slots=True)
class Collected:
    """The summaries of the shards read so far, and the audit that the release holds, if it holds one.

    `wanted` are the keys of the records that the card and the audit quote.
    """

    audit: Audit | None
    wanted: frozenset[str]
    shards: list[ShardSummary] = field(default_factory=list)

    @classmethod
    def begin(cls, release: Path, manifest: Manifest) -> Self:
        """Read the audit, which says which records will be wanted; no shard is read yet."""
        named = {file.path for file in manifest.files}
        audit = read_audit(release / AUDIT) if AUDIT in named and (release / AUDIT).is_file() else None
        shown = listed_keys(audit) if audit else []
        return cls(audit, frozenset([key_of(0), *shown]))

    def pixels(self, images: int) -> NDArray[np.uint8] | None:
        """Return the (N, 32) digests of all images of a release; None unless every one was decoded."""
        parts = [shard.pixels for shard in self.shards if shard.pixels is not None]
        found = np.concatenate([np.zeros((0, 32), dtype=np.uint8), *parts])
        return found if len(found) == images else None

    @property
    def records(self) -> dict[str, Provenance]:
        """The wanted records, by key."""
        return {key: record for shard in self.shards for key, record in shard.records.items()}


def _ranks(records: Sequence[Provenance]) -> list[list[int]]:
    return [[item.rank for item in candidates_of(record) or ()] for record in records]


def contradicting(shards: Sequence[ShardSummary]) -> Iterator[tuple[int, str]]:
    """Yield where shards contradict each other: the index of an image, and what is wrong with its record."""
    parts = [shard.real_images for shard in shards if shard.real_images is not None]
    for index, reason in contradictions(parts) if parts else ():
        yield index, f"{key_of(index)}: {reason}"
    retrieved = [shard.retrieved for shard in shards if shard.retrieved is not None]
    for index, reason in retrieved_rules.contradictions(retrieved) if retrieved else ():
        yield index, f"{key_of(index)}: {reason}"
    sizes = Counter(shard.embedding_size for shard in shards if shard.embedding_size is not None)
    for shard in shards:
        size = sizes.most_common(1)[0][0] if sizes else None
        if shard.embedding_size not in (None, size):
            yield (
                shard.first,
                f"its records are of embeddings of {shard.embedding_size} numbers, others of {size}",
            )
