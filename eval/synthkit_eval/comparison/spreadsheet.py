"""A comparison as CSV: a line for each row, plain numbers."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from synthkit_eval.score import ACCURACIES, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.differences import Difference, Section
    from synthkit_eval.comparison.published import Published
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score import Accuracy


def as_csv(sections: Sequence[Section]) -> str:
    """Return one line of CSV per score: plain numbers, accuracies in percent.

    The column `published` says which are published ones. Contrasts fixed beforehand with other rows than the
    two references, or of other parts than overall, have columns `contrast_1…`, as many as a row has most.
    """
    lines = [line for section in sections for line in _lines(section)]
    others = max((len(_contrasts(section, row)) for section in sections for row in section.rows), default=0)
    heads = [*_HEADS, *(f"contrast_{n + 1}{end}" for n in range(others) for end in _CONTRAST)]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=heads, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in line.items()} for line in lines)
    return stream.getvalue()


Value = str | int | float | None
_SETS = ("fid", "kid", "vendi", "vendi_real", "precision", "recall", "density", "coverage")
_DIFFERENCE = ("", "_baseline", "_low", "_high", "_p_corrected", "_visible", "_family", "_declared")
_CONTRAST = (*_DIFFERENCE, "_part")
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
    *("shots", "trial", "releases", "seeds", "steps"),
    *(f"{part}{end}" for part in ACCURACIES for end in ("", "_ci95")),
    "overall_images_ci95",
    *(f"{to}{end}" for to in ("to_real_only", "to_random_image") for end in _DIFFERENCE),
    *(*_SETS, "fid_features", "protocol", "protocol_version", "protocol_digest"),
    *("training_digest", "evaluation_digest"),
)


def _lines(section: Section) -> Iterator[dict[str, Value]]:
    protocol, data = section.first.protocol, section.first.data
    for row in section.rows:
        yield {
            "section": section.number,
            **_line(section, row),
            "protocol": protocol.name,
            "protocol_version": protocol.version,
            "protocol_digest": protocol.digest,
            "training_digest": data.training_digest,
            "evaluation_digest": data.evaluation_digest,
        }
    for item in section.published:
        yield {"section": section.number, **_printed_line(item), "protocol": protocol.name}


def _line(section: Section, row: Row) -> dict[str, Value]:
    score = row.score
    sets = row.sets
    line: dict[str, Value] = {
        "name": row.name,
        "published": "no",
        "trained_on": score.trained_on,
        "releases": len(row.files),
        "seeds": row.seeds,
        "steps": score.steps,
        "overall_images_ci95": 100 * row.accuracy.overall.images_ci95,
    }
    if sets is not None:
        line |= {key: getattr(sets.overall, key) for key in _SETS} | {"fid_features": sets.features}
    if score.release is not None:
        keys = ("version", "method", "guidance_scale", "images", "shots", "trial")
        line |= {key: getattr(score.release, key) for key in keys}
    for part in ACCURACIES:
        accuracy: Accuracy | None = getattr(row.accuracy, part)
        if accuracy is not None:
            line[part] = 100 * accuracy.mean
            line[f"{part}_ci95"] = None if accuracy.ci95 is None else 100 * accuracy.ci95
    return (
        line
        | _difference_line("to_real_only", section.to_real(row))
        | _difference_line("to_random_image", section.to_random(row))
        | {
            key: value
            for number, found in enumerate(_contrasts(section, row), 1)
            for key, value in _contrast_line(f"contrast_{number}", found).items()
        }
    )


def _contrasts(section: Section, row: Row) -> list[Difference]:
    """Return the contrasts of a row that no other column tells."""
    told = (section.to_real(row), section.to_random(row))
    own = [one for one in section.differences if one.mine is row and one.declared]
    return [one for one in own if not any(one is other for other in told)]


def _contrast_line(name: str, found: Difference) -> dict[str, Value]:
    return {**_difference_line(name, found), f"{name}_part": found.part}


def _difference_line(to: str, found: Difference | None) -> dict[str, Value]:
    if found is None:
        return {}
    values: tuple[Value, ...] = (
        *(found.points, found.baseline.name, *found.interval, found.p, found.visible, found.family),
        "yes" if found.declared else "no",
    )
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
