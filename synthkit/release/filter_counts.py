"""How often quality gates rejected a draw and which draws were preferred, counted from records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthkit.release.facts import FilterFacts, PreferFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.recipe.filters import Filters


@dataclass(slots=True)
class FilterCounts:
    """Sums over fields of records; `filters` are the recipe's."""

    filters: Filters
    totals: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        attempts: Sequence[int],
        rejected: Sequence[Sequence[str]],
        ranks: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Count some records; `ranks` are those of the candidates of each, None for a format without them."""
        drawn = [attempt + 1 for attempt in attempts]
        kept = [len(row) > attempt for row, attempt in zip(rejected, attempts, strict=True)]
        if ranks is not None:
            drawn = [len(some) + len(row) for some, row in zip(ranks, rejected, strict=True)]
            kept = [not some for some in ranks]
            right, later = sum(1 in some for some in ranks), sum(map(bool, attempts))
            self.totals.update(drawn=sum(drawn), right=right, later=later)
        self.totals["redrawn"] += sum(count > self.filters.draws for count in drawn)
        self.totals["rejected"] += sum(map(len, rejected))
        self.totals["kept"] += sum(kept)
        # One draw can fail several gates: "blank: …; near-copy: …".
        self.reasons.update(why.split(":")[0] for row in rejected for draw in row for why in draw.split("; "))

    def facts(self) -> FilterFacts:
        """Return the sums as the manifest states them."""
        return FilterFacts(
            redrawn=self.totals["redrawn"],
            rejected_draws=self.totals["rejected"],
            kept_although_rejected=self.totals["kept"],
            reasons=dict(sorted(self.reasons.items())),
            prefer=self._prefer(),
        )

    def _prefer(self) -> PreferFacts | None:
        if self.filters.prefer is None:
            return None
        counted = {name: self.totals[name] for name in ("drawn", "right", "later")}
        return PreferFacts(each=self.filters.draws, **counted)


def in_words(facts: PreferFacts, images: int) -> str:
    """Return what `filters.prefer` did in a release of so many images, as card and `show` tell it."""
    least = "at least " if facts.drawn > facts.each * images else ""
    right, later = _share(facts.right, images), _share(facts.later, images)
    return (
        f"{facts.drawn:,} draws, {least}{facts.each} of each image: {right} of the images are the draw that a"
        " classifier finds right but is least sure of, the others, of which it found none right, the most "
        f"probable one; {later} are not the first draw"
    )


def _share(part: int, whole: int) -> str:
    """Return a share in percent, as exact as so many images are."""
    return f"{100 * part / whole:.1f} %"
