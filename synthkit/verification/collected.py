"""What is kept of each shard of a release until all are read, and what shards say against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from synthkit.release.audit import read_audit
from synthkit.release.files import AUDIT
from synthkit.release.filter_counts import FilterCounts
from synthkit.release.records import key_of
from synthkit.verification.derived_plan import contradictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.release.audit import Audit
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance
    from synthkit.verification.derived_plan import Places
    from synthkit.verification.record_rules import RecordRules


@dataclass(slots=True)
class OfShard:
    """What is kept of a shard until all are read."""

    first: int
    differences: list[str]
    labels: Counter[int]
    places: Places | None = None
    embedding_size: int | None = None
    filters: FilterCounts | None = None
    records: dict[str, Provenance] = field(default_factory=dict)

    def read(self, rules: RecordRules, records: Sequence[Provenance | None], wanted: frozenset[str]) -> None:
        """Take from a shard's records what says something about the release as a whole."""
        known = [record for record in records if record is not None]
        self.embedding_size = rules.size(known)
        if rules.plan is not None and rules.plan.pool is None:
            self.places = rules.plan.places(self.first, records)
        if len(known) == len(records):
            self.filters = FilterCounts()
            self.filters.add([record.attempt for record in known], [record.rejected for record in known])
        self.records = {record.key: record for record in known if record.key in wanted}


@dataclass(slots=True)
class Found:
    """What was read of a release: its shards, and the audit that came with it, if there is one."""

    audit: Audit | None
    wanted: frozenset[str]
    shards: list[OfShard] = field(default_factory=list)

    @classmethod
    def begin(cls, release: Path, manifest: Manifest) -> Self:
        """Nothing yet but the audit, and the keys of the records that will be asked for."""
        named = {file.path for file in manifest.files}
        audit = read_audit(release / AUDIT) if AUDIT in named and (release / AUDIT).is_file() else None
        shown = [pair.key for pair in audit.pairs] if audit else []
        return cls(audit, frozenset([key_of(0), *shown]))

    @property
    def records(self) -> dict[str, Provenance]:
        """The records that were asked for, by key."""
        return {key: record for shard in self.shards for key, record in shard.records.items()}


def contradicting(shards: Sequence[OfShard]) -> Iterator[tuple[int, str]]:
    """What shards say against each other: an image's index, and what is wrong with its record or shard."""
    parts = [shard.places for shard in shards if shard.places is not None]
    for index, reason in contradictions(parts) if parts else ():
        yield index, f"{key_of(index)}: {reason}"
    sizes = Counter(shard.embedding_size for shard in shards if shard.embedding_size is not None)
    for shard in shards:
        size = sizes.most_common(1)[0][0] if sizes else None
        if shard.embedding_size not in (None, size):
            yield (
                shard.first,
                f"its records are of embeddings of {shard.embedding_size} numbers, others of {size}",
            )
