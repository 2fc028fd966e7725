"""What the accuracy of a section's rows follows: FID, or how diverse the images are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit_eval.comparison.statistics import LEVEL, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.rows import Row

# Fewer rows have no rank correlation that could be shown.
_ENOUGH_ROWS = 6
_METRICS = {"fid": "FID", "vendi": "Vendi score", "recall": "recall", "coverage": "coverage"}


@dataclass(frozen=True, slots=True)
class _Correlation:
    """Spearman's rank correlation of accuracy with a metric over some rows of a section, and its p-value."""

    section: int
    name: str
    rows: int
    rho: float
    p: float


def correlations(sections: Sequence[Section]) -> dict[int, str]:
    """Return for sections, by their number, a sentence on which set metrics go with accuracy over the rows.

    Rows are those of as many synthetic images in one feature space, for both change the metrics. p-values are
    corrected for all correlations of all sections (Holm).
    """
    found = [one for section in sections for one in _of_section(section)]
    corrected = holm([one.p for one in found])
    told: dict[int, list[str]] = {}
    for one, p in zip(found, corrected, strict=True):
        shown = "shown" if p < 1 - LEVEL else "not shown"
        told.setdefault(one.section, []).append(
            f"{one.name} {one.rho:+.2f} ({one.rows} rows, p {p:.3f}, {shown})"
        )
    return {
        number: f"Rank correlation of accuracy with {', '.join(lines)}; p corrected (Holm)."
        for number, lines in told.items()
    }


def _of_section(section: Section) -> list[_Correlation]:
    from scipy import stats

    rows = _alike(section.rows)
    found = []
    for key, name in _METRICS.items():
        pairs = [
            (value, row.accuracy.overall.mean)
            for row in rows
            if row.sets is not None and (value := getattr(row.sets.overall, key)) is not None
        ]
        if len(pairs) >= _ENOUGH_ROWS and all(len(set(side)) > 1 for side in zip(*pairs, strict=True)):
            rho, p = stats.spearmanr(*zip(*pairs, strict=True))
            found.append(_Correlation(section.number, name, len(pairs), float(rho), float(p)))
    return found


def _alike(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the feature space and the number of synthetic images that most rows have."""
    kinds = Counter(_kind(row) for row in rows if row.sets is not None)
    if not kinds:
        return []
    (most, _), *_ = kinds.most_common(1)
    return [row for row in rows if row.sets is not None and _kind(row) == most]


def _kind(row: Row) -> tuple[str, int]:
    release = row.score.release
    return (row.sets.features if row.sets else "", release.images if release else 0)
