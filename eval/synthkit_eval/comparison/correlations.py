"""What the accuracy of a section's rows follows: FID, or how diverse the images are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit_eval.comparison.statistics import LEVEL, holm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit_eval.comparison.differences import Section

# Fewer rows have no rank correlation that could be shown.
_ENOUGH_ROWS = 6
_METRICS = {"fid": "FID", "vendi": "Vendi score", "recall": "recall", "coverage": "coverage"}


def correlations(section: Section) -> Iterator[str]:
    """Yield a sentence on which set metrics go with accuracy over the rows: Spearman's rank correlations."""
    from scipy import stats

    rows = [row for row in section.rows if row.sets is not None]
    found: dict[str, tuple[float, float]] = {}
    for key, name in _METRICS.items():
        pairs = [
            (value, row.accuracy.overall.mean)
            for row in rows
            if row.sets is not None and (value := getattr(row.sets.overall, key)) is not None
        ]
        if len(pairs) >= _ENOUGH_ROWS and all(len(set(side)) > 1 for side in zip(*pairs, strict=True)):
            result = stats.spearmanr(np.asarray(pairs))
            found[name] = float(result.statistic), float(result.pvalue)
    if not found:
        return
    corrected = holm([p for _, p in found.values()])
    told = [
        f"{name} {rho:+.2f} (p {p:.3f}, {'shown' if p < 1 - LEVEL else 'not shown'})"
        for (name, (rho, _)), p in zip(found.items(), corrected, strict=True)
    ]
    yield f"Rank correlation of accuracy over {len(rows)} rows with {', '.join(told)}; p corrected (Holm)."
