"""The table of accuracies and set metrics, with published rows below a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from synthkit_eval.comparison.rows import tells_cost, told_parts
from synthkit_eval.comparison.table import NONE, Cells, Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.published import Published
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import Accuracy

# Smaller differences are not seen in a table.
_ROUNDING = 5e-4
# Numbers from here on have no decimals.
_WHOLE = 1000
# What tells how diverse the images are, beside the distance of the sets.
_DIVERSITY = {"vendi": "Vendi", "recall": "recall", "coverage": "coverage"}


class _Told(NamedTuple):
    """What has columns: parts of the accuracy, feature spaces of FIDs, metrics of diversity, and the cost."""

    parts: Sequence[str]
    spaces: Sequence[str]
    diversity: Sequence[str]
    cost: bool


def accuracies(section: Section, spaces: Sequence[str]) -> Table:
    """Return the table of a section; `spaces` are the feature spaces of its FIDs, each with a column."""
    parts = _parts(section.rows)
    diversity = [key for key in _DIVERSITY if any(_metric(row, key) is not None for row in section.rows)]
    told = _Told(parts, spaces, diversity, tells_cost(section.rows))
    heads = [
        "guidance",
        *(["TFLOP"] if told.cost else []),
        *(part.replace("_", " ") for part in parts),
        *fid_heads(spaces),
    ]
    heads += [*(_DIVERSITY[key] for key in diversity), "runs"]
    columns = [Column("name", "left"), Column("method", "left"), *(Column(head) for head in heads)]
    rows = [_measured(row, told) for row in section.rows]
    if not section.published:
        return Table(tuple(columns), tuple(rows))
    printed = [(*_printed(item, told), item.table.citation) for item in section.published]
    rows = [(*row, "") for row in rows]
    return Table((*columns, Column("source", "left")), (*rows, *printed), rules=(len(rows),))


def _parts(rows: Sequence[Row]) -> list[str]:
    """Return the parts that have a column: the mean over classes only if it differs from that over images."""
    overall, *groups = told_parts(rows)
    found = [row.accuracy for row in rows]
    differs = any(abs(one.class_mean.mean - one.overall.mean) > _ROUNDING for one in found)
    return [overall, *(["class_mean"] if differs else []), *groups]


def _measured(row: Row, told: _Told) -> Cells:
    release, accuracy = row.score.release, row.accuracy
    fid, features = _fid(row)
    return (
        row.name,
        NONE if release is None else release.method,
        NONE if release is None else f"{release.guidance_scale:g}",
        *([_count(row.operations)] if told.cost else []),
        *(_percent(getattr(accuracy, part)) for part in told.parts),
        *(NONE if fid is None or space != features else f"{fid:.2f}" for space in told.spaces),
        *(_plain(_metric(row, key)) for key in told.diversity),
        row.runs,
    )


def _printed(item: Published, told: _Told) -> Cells:
    row = item.row
    return (
        f"published: {row.name}",
        row.method or NONE,
        NONE if row.guidance_scale is None else f"{row.guidance_scale:g}",
        *([NONE] if told.cost else []),
        *(_as_printed(getattr(row, part, None)) for part in told.parts),
        *(_as_printed(row.fid if space == item.table.features else None) for space in told.spaces),
        *(NONE for _ in told.diversity),
        NONE,
    )


def fid_spaces(section: Section) -> list[str]:
    """Return the feature spaces of the section's FIDs, the scores' own first; each gets a column."""
    own = [features for fid, features in (_fid(row) for row in section.rows) if fid is not None]
    printed = [item.table.features or "" for item in section.published if item.row.fid is not None]
    return list(dict.fromkeys([*own, *printed]))


def fid_heads(spaces: Sequence[str]) -> list[str]:
    """Return the heads of the columns of FIDs in these feature spaces."""
    return ["FID"] if len(spaces) == 1 else [f"FID {number + 1}" for number in range(len(spaces))]


def _fid(row: Row) -> tuple[float | None, str]:
    found = row.sets
    return (None, "") if found is None else (found.overall.fid, found.features)


def _metric(row: Row, key: str) -> float | None:
    found = row.sets
    value: float | None = None if found is None else getattr(found.overall, key)
    return value


def _plain(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _count(value: float | None) -> str:
    return _plain(value) if value is None or value < _WHOLE else f"{value:,.0f}"


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return NONE
    spread = "" if accuracy.ci95 is None else f" ±{100 * accuracy.ci95:.1f}"
    return f"{100 * accuracy.mean:.1f}{spread}"


def _as_printed(value: float | None) -> str:
    return NONE if value is None else str(value)
