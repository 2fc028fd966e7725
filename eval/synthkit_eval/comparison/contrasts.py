"""Which rows the contrasts that were fixed beforehand compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit_eval.comparison.references import nearest, real_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.contrast import Contrast

Pair = tuple["Row", "Row", str]


def rows_of(contrasts: Sequence[Contrast], sections: Iterable[Sequence[Row]]) -> list[list[Pair]]:
    """Return for each section the pairs of rows that the contrasts name, and the part of the accuracy.

    Raises ScoreError if a contrast names rows that no section has.
    """
    sections = list(sections)
    contrasts = list(dict.fromkeys(contrasts))
    for contrast in contrasts:
        if not any(list(_pairs(contrast, rows)) for rows in sections):
            known = sorted({row.label for rows in sections for row in rows})
            raise ScoreError(
                f"contrasts: no scores compare {contrast.of} with {contrast.against}; "
                f"there are {', '.join(known)}"
            )
    return [[pair for contrast in contrasts for pair in _pairs(contrast, rows)] for rows in sections]


def _pairs(contrast: Contrast, rows: Sequence[Row]) -> Iterator[Pair]:
    """Yield each row of the contrast with the most alike of those it is compared with."""
    mine, theirs = (
        [row for row in rows if name in (row.label, row.name)] for name in (contrast.of, contrast.against)
    )
    for row in mine:
        other = _other(row, [one for one in theirs if one is not row], rows)
        if other is not None:
            yield row, other, contrast.part


def _other(row: Row, theirs: Sequence[Row], rows: Sequence[Row]) -> Row | None:
    """Return the row to compare with: real images of as many steps, or the release that is most alike."""
    releases = [one for one in theirs if one.score.release is not None]
    if row.score.release is None:
        return next((one for one in releases if real_of(one, rows) is row), None)
    real = real_of(row, rows)
    return nearest(row, releases) if releases else next((one for one in theirs if one is real), None)
