"""Which rows the contrasts that were fixed beforehand compare."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit_eval.comparison.references import nearest, real_of
from synthkit_eval.contrast import told_by

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
    found: list[list[Pair]] = [[] for _ in sections]
    for contrast in dict.fromkeys(contrasts):
        pairs = [list(_pairs(contrast, rows, sections)) for rows in sections]
        if not any(pairs):
            raise ScoreError(
                f"contrasts: no scores compare {contrast}; there are {_known(contrast, sections)}"
            )
        for known, more in zip(found, pairs, strict=True):
            known.extend(more)
    return found


def _known(contrast: Contrast, sections: Sequence[Sequence[Row]]) -> str:
    several = contrast.by is not None
    return ", ".join(
        sorted({told_by(row.label, _protocol(row) if several else None) for rows in sections for row in rows})
    )


def _pairs(contrast: Contrast, rows: Sequence[Row], sections: Sequence[Sequence[Row]]) -> Iterator[Pair]:
    """Yield each row of the contrast with the most alike of those it is compared with."""
    for row in _named(contrast.of, contrast.by, rows):
        if contrast.against_by in (None, contrast.by):
            theirs = [one for one in _named(contrast.against, contrast.by, rows) if one is not row]
            other = _other(row, theirs, rows)
        else:
            alike = (one for others in sections for one in others if _on_the_same(one, row))
            other = _by_another(row, _named(contrast.against, contrast.against_by, alike))
        if other is not None:
            yield row, other, contrast.part


def _named(name: str, protocol: str | None, rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if name in (row.label, row.name) and protocol in (None, _protocol(row))]


def _protocol(row: Row) -> str:
    return row.score.protocol.name


def _on_the_same(row: Row, other: Row) -> bool:
    """Return whether two rows have the same real images, choices of shots aside, in the same groups."""
    mine, theirs = ((one.score.data.kin, one.score.data.groups) for one in (row, other))
    return mine == theirs


def _by_another(row: Row, theirs: Sequence[Row]) -> Row | None:
    """Return the row of another protocol to compare with, its name with that protocol.

    Of real images alone it is the one of the most runs: other protocols have other numbers of steps.
    """
    releases = [one for one in theirs if one.score.release is not None]
    if releases and row.score.release is not None:
        found = nearest(row, releases)
    else:
        found = max(theirs, key=lambda one: one.seeds, default=None)
    return found and replace(found, name=told_by(found.name, _protocol(found)))


def _other(row: Row, theirs: Sequence[Row], rows: Sequence[Row]) -> Row | None:
    """Return the row to compare with: real images of as many steps, or the release that is most alike."""
    releases = [one for one in theirs if one.score.release is not None]
    if row.score.release is None:
        return next((one for one in releases if real_of(one, rows) is row), None)
    real = real_of(row, rows)
    return nearest(row, releases) if releases else next((one for one in theirs if one is real), None)
