"""How often quality gates rejected a draw, counted from the records of one shard after another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthkit.release.facts import FilterFacts

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class FilterCounts:
    """Sums over the fields `attempt` and `rejected` of records."""

    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, attempts: Sequence[int], rejected: Sequence[Sequence[str]]) -> None:
        """Count some records."""
        self.totals["redrawn"] += sum(attempt > 0 for attempt in attempts)
        self.totals["rejected"] += sum(map(len, rejected))
        self.totals["kept"] += sum(len(row) > n for row, n in zip(rejected, attempts, strict=True))
        # One draw can fail several gates: "blank: …; near-copy: …".
        self.reasons.update(why.split(":")[0] for row in rejected for draw in row for why in draw.split("; "))

    def facts(self) -> FilterFacts:
        """Return the sums as the manifest states them."""
        return FilterFacts(
            redrawn=self.totals["redrawn"],
            rejected_draws=self.totals["rejected"],
            kept_although_rejected=self.totals["kept"],
            reasons=dict(sorted(self.reasons.items())),
        )
