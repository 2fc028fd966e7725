"""Which rows the contrasts that were fixed beforehand compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit_eval.comparison.references import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.contrast import Contrast

_Pair = tuple["Row", "Row", str]


def rows_of(contrasts: Sequence[Contrast], sections: Iterable[Sequence[Row]]) -> list[list[_Pair]]:
    """Return for each section the pairs of rows that the contrasts name, and the part of the accuracy.

    Raises ScoreError if a contrast names rows that no section has.
    """
    sections = list(sections)
    for contrast in contrasts:
        if not any(list(_pairs(contrast, rows)) for rows in sections):
            known = sorted({row.label for rows in sections for row in rows})
            raise ScoreError(
                f"contrasts: no scores compare {contrast.of} with {contrast.against}; "
                f"there are {', '.join(known)}"
            )
    return [[pair for contrast in contrasts for pair in _pairs(contrast, rows)] for rows in sections]


def _pairs(contrast: Contrast, rows: Sequence[Row]) -> Iterator[_Pair]:
    """Yield each row of the contrast with the most alike of those it is compared with."""
    theirs = [row for row in rows if contrast.against in (row.label, row.name)]
    for row in rows:
        if contrast.of not in (row.label, row.name) or row in theirs:
            continue
        if row.score.release is None or any(other.score.release is None for other in theirs):
            other = next(iter(theirs), None)
        else:
            other = nearest(row, theirs)
        if other is not None:
            yield row, other, contrast.part
