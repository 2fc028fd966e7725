"""A comparison as tables of text: the columns, the numbers in them, and the notes below."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from synthkit_eval.score import GROUPS, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.differences import Difference, Row, Section
    from synthkit_eval.comparison.published import Published
    from synthkit_eval.score import Accuracy, Score

NONE = "–"
_ENOUGH_SEEDS = 5

Align = Literal["left", "right"]
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column, and the side to which its cells are aligned."""

    head: str
    align: Align = "right"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under heads; a line is drawn above the rows numbered in `rules`."""

    columns: tuple[Column, ...]
    rows: tuple[Cells, ...]
    rules: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A section as it is shown: title, tables, notes."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def pages(sections: Sequence[Section]) -> list[Page]:
    """Return a page for each section; the notes of the last one say how to read them all."""
    made = [_page(section, len(sections)) for section in sections]
    return [*made[:-1], replace(made[-1], notes=(*made[-1].notes, *_legend(sections)))]


def _legend(sections: Sequence[Section]) -> Iterator[str]:
    yield "Accuracies are top-1 in percent, ± half of the 95 % interval of the mean over seeds."
    if any(len(row.score.seeds) < _ENOUGH_SEEDS for section in sections for row in section.rows):
        yield (
            f"Intervals of fewer than {_ENOUGH_SEEDS} seeds are rough: they may be far too narrow, "
            "or too wide."
        )
    if any(row.to_real or row.to_random for section in sections for row in section.rows):
        yield (
            "Differences are of overall, with the 95 % interval of the difference (Welch's t-test over "
            "seeds): one that holds 0 leaves open which of the two is better."
        )


def _page(section: Section, count: int) -> Page:
    score = section.first
    number = f"{section.number}. " if count > 1 else ""
    changed = f" with {', '.join(score.protocol.changed)}" if score.protocol.changed else ""
    title = (
        f"{number}{score.protocol.name} version {score.protocol.version}{changed}: "
        f"{score.data.training_images:,} real training images, "
        f"{score.data.evaluation_images:,} evaluation images"
    )
    spaces = _spaces(section)
    differences = _differences(section)
    tables = (_accuracies(section, spaces), *([differences] if differences.rows else []))
    return Page(title, tables, tuple(_notes(section, spaces)))


def _accuracies(section: Section, spaces: Sequence[str]) -> Table:
    parts = [part for part in PARTS if part == "overall" or any(_part(r.score, part) for r in section.rows)]
    heads = ["guidance", *parts, *_fid_heads(spaces), "seeds"]
    columns = [Column("name", "left"), Column("method", "left"), *(Column(head) for head in heads)]
    rows = [_measured(row, parts, spaces) for row in section.rows]
    if not section.published:
        return Table(tuple(columns), tuple(rows))
    printed = [(*_printed(item, parts, spaces), item.table.citation) for item in section.published]
    rows = [(*row, "") for row in rows]
    return Table((*columns, Column("source", "left")), (*rows, *printed), rules=(len(rows),))


def _measured(row: Row, parts: Sequence[str], spaces: Sequence[str]) -> Cells:
    release = row.score.release
    fid, features = _fid(row.score)
    return (
        row.name,
        NONE if release is None else release.method,
        NONE if release is None else f"{release.guidance_scale:g}",
        *(_percent(_part(row.score, part)) for part in parts),
        *(NONE if fid is None or space != features else f"{fid:.2f}" for space in spaces),
        str(len(row.score.seeds)),
    )


def _printed(item: Published, parts: Sequence[str], spaces: Sequence[str]) -> Cells:
    row = item.row
    return (
        f"published: {row.name}",
        row.method or NONE,
        NONE if row.guidance_scale is None else f"{row.guidance_scale:g}",
        *(_as_printed(getattr(row, part)) for part in parts),
        *(_as_printed(row.fid if space == item.table.features else None) for space in spaces),
        NONE,
    )


def _differences(section: Section) -> Table:
    kept = [row for row in section.rows if row.to_real or row.to_random]
    columns, cells = [Column("difference in points", "left")], [[row.name] for row in kept]
    for head, found in (
        ("to real only", [row.to_real for row in kept]),
        ("to random-image", [row.to_random for row in kept]),
    ):
        if any(found):
            columns += [Column(head), Column("its 95 % interval")]
            cells = [[*line, *_difference(one)] for line, one in zip(cells, found, strict=True)]
    return Table(tuple(columns), tuple(tuple(line) for line in cells))


def _difference(found: Difference | None) -> list[str]:
    if found is None:
        return [NONE, NONE]
    interval = NONE
    if found.interval is not None:
        interval = "{:+.2f} to {:+.2f}".format(*found.interval)
    return [f"{found.points:+.2f}", interval]


def _notes(section: Section, spaces: Sequence[str]) -> Iterator[str]:
    if section.apart:
        yield section.apart
    yield from section.notes
    yield (
        f"Another draw of {section.first.data.evaluation_images:,} evaluation images would move overall by "
        f"about ±{_largest_images_ci95(section):.1f}; these are the same for all."
    )
    if spaces:
        told = [f"{head}: {space}" for head, space in zip(_fid_heads(spaces), spaces, strict=True)]
        yield f"Feature space of {', '.join(told)}."
    for table in dict.fromkeys(item.table.citation for item in section.published):
        yield _about(next(item for item in section.published if item.table.citation == table))


def _about(item: Published) -> str:
    average = {"images": "overall is over images", "classes": "overall is a mean of per-class accuracies"}
    differs = f"; what differs: {item.table.differs}" if item.table.differs else ""
    told = f"{item.table.network}; {average[item.table.average]}{differs}"
    return f"Published in {item.table.citation}: {told}."


def _largest_images_ci95(section: Section) -> float:
    return 100 * max(row.score.accuracy.overall.images_ci95 for row in section.rows)


def _spaces(section: Section) -> list[str]:
    """Return the feature spaces of the section's FIDs, the scores' own first; each gets a column."""
    own = [features for fid, features in (_fid(row.score) for row in section.rows) if fid is not None]
    printed = [item.table.features or "" for item in section.published if item.row.fid is not None]
    return list(dict.fromkeys([*own, *printed]))


def _fid_heads(spaces: Sequence[str]) -> list[str]:
    return ["FID"] if len(spaces) == 1 else [f"FID {number + 1}" for number in range(len(spaces))]


def _fid(score: Score) -> tuple[float | None, str]:
    found = score.set_metrics
    return (None, "") if found is None else (found.overall.fid, found.features)


def _part(score: Score, part: str) -> Accuracy | None:
    found: Accuracy | None = getattr(score.accuracy, part)
    return found


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return NONE
    spread = "" if accuracy.ci95 is None else f" ±{100 * accuracy.ci95:.1f}"
    return f"{100 * accuracy.mean:.1f}{spread}"


def _as_printed(value: float | None) -> str:
    return NONE if value is None else str(value)


def as_csv(sections: Sequence[Section]) -> str:
    """Return one line of CSV per score: plain numbers, accuracies in percent.

    The column `published` says which are published ones.
    """
    lines = [line for section in sections for line in _lines(section)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=_HEADS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


Value = str | int | float | None
_DIFFERENCE = ("", "_baseline", "_low", "_high")
_HEADS = (
    *(
        "section",
        "name",
        "published",
        "source",
        "trained_on",
        "version",
        "method",
        "guidance_scale",
        "images",
    ),
    *("shots", "trial", "seeds", "steps"),
    *(f"{part}{end}" for part in PARTS for end in ("", "_ci95")),
    "overall_images_ci95",
    *(f"{to}{end}" for to in ("to_real_only", "to_random_image") for end in _DIFFERENCE),
    *("fid", "fid_features", "protocol", "protocol_version", "protocol_digest"),
    *("training_digest", "evaluation_digest"),
)


def _lines(section: Section) -> Iterator[dict[str, Value]]:
    protocol, data = section.first.protocol, section.first.data
    for row in section.rows:
        yield {
            "section": section.number,
            **_line(row),
            "protocol": protocol.name,
            "protocol_version": protocol.version,
            "protocol_digest": protocol.digest,
            "training_digest": data.training_digest,
            "evaluation_digest": data.evaluation_digest,
        }
    for item in section.published:
        yield {"section": section.number, **_printed_line(item), "protocol": protocol.name}


def _line(row: Row) -> dict[str, Value]:
    score = row.score
    fid, features = _fid(score)
    line: dict[str, Value] = {
        "name": row.name,
        "published": "no",
        "trained_on": score.trained_on,
        "seeds": len(score.seeds),
        "steps": score.steps,
        "overall_images_ci95": 100 * score.accuracy.overall.images_ci95,
        "fid": fid,
        "fid_features": features,
    }
    if score.release is not None:
        keys = ("version", "method", "guidance_scale", "images", "shots", "trial")
        line |= {key: getattr(score.release, key) for key in keys}
    for part in PARTS:
        accuracy = _part(score, part)
        if accuracy is not None:
            line[part] = 100 * accuracy.mean
            line[f"{part}_ci95"] = None if accuracy.ci95 is None else 100 * accuracy.ci95
    return (
        line
        | _difference_line("to_real_only", row.to_real)
        | _difference_line("to_random_image", row.to_random)
    )


def _difference_line(to: str, found: Difference | None) -> dict[str, Value]:
    if found is None:
        return {}
    low, high = found.interval or (None, None)
    values: tuple[Value, ...] = (found.points, found.baseline, low, high)
    return {f"{to}{end}": value for end, value in zip(_DIFFERENCE, values, strict=True)}


def _printed_line(item: Published) -> dict[str, Value]:
    row = item.row
    keys = ("name", "method", "guidance_scale", "images", "shots", "overall", *GROUPS, "fid")
    line: dict[str, Value] = {key: getattr(row, key) for key in keys}
    features = item.table.features if row.fid is not None else None
    return line | {"published": "yes", "source": item.table.citation, "fid_features": features}


def _plain(value: Value) -> Value:
    # Beyond six decimals of a percent there is only rounding of binary fractions.
    return round(value, 6) if isinstance(value, float) else value
