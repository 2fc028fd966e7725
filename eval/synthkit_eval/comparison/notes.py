"""What to know of a section before reading its differences."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit_eval.comparison.references import random_of, real_of, release_of
from synthkit_eval.comparison.rows import BASELINE, share_of_real, standing
from synthkit_eval.score_files import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.rows import Row

_NAMES_SHOWN = 3


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what cannot be subtracted, and what else differs between the rows of a section."""
    releases = [row for row in rows if row.score.release is not None]
    alone = [row for row in releases if real_of(row, rows) is None]
    if alone:
        steps = " or ".join(f"{n:,}" for n in sorted({item.score.steps for item in alone}))
        yield (
            f"No real-only score of {steps} steps lies beside {_listed(alone)}: nothing to subtract. "
            f"{_how_to_make_one(alone[0])} makes one."
        )
    if releases and not any(standing(row) == 1 for row in releases):
        yield f"No {BASELINE} score is among these: nothing to subtract."
    machines = {
        (score.environment.get("device", "?"), score.environment.get("processes", "?"))
        for row in rows
        for score in row.scores
    }
    if len(machines) > 1:
        told = "; ".join(f"{device}, {processes} process(es)" for device, processes in sorted(machines))
        yield f"Not all were trained on one kind of machine ({told}): small differences may come of that."
    unlike: dict[tuple[str, str], list[Row]] = {}
    for item in releases:
        baseline = random_of(item, rows)
        reasons = ", ".join(_unlike_releases(baseline, item)) if baseline else ""
        if baseline and reasons:
            unlike.setdefault((baseline.name, reasons), []).append(item)
    for (name, reasons), items in unlike.items():
        yield f"Compared with {_listed(items)}, {name} has {reasons}."


def _how_to_make_one(row: Row) -> str:
    """Return what makes a real-only score, by where the release of a row is as far as its file tells."""
    file, score = row.files[0], row.score
    release, otherwise = f"releases/{score.name}", ""
    if file.path.suffix == TABLE and "@" in file.path.name:
        release = str(Path(*file.path.parts[-2:]).with_suffix(""))
    elif file.path.suffix == TABLE:
        # The releases of a study lie in its work.
        release, otherwise = "RELEASE", ", or `real_only: true` in the study's file,"
    changes = "".join(f" --set {shlex.quote(change)}" for change in score.protocol.changed)
    words = f"{shlex.quote(release)} --protocol {shlex.quote(score.protocol.name)}{changes}"
    return f"`synthkit eval {words} --real-only`{otherwise}"


def _unlike_releases(baseline: Row, item: Row) -> Iterator[str]:
    theirs, mine = release_of(baseline), release_of(item)
    if theirs.generator != mine.generator:
        yield "another model"
    if theirs.guidance_scale != mine.guidance_scale:
        yield f"guidance {theirs.guidance_scale:g}, not {mine.guidance_scale:g}"
    shares = [100 * share_of_real(row.score) for row in (baseline, item)]
    if shares[0] != shares[1]:
        yield f"{shares[0]:g} % real images in a minibatch, not {shares[1]:g} %"
    if baseline.score.steps != item.score.steps:
        yield f"{baseline.score.steps:,} steps, not {item.score.steps:,}"
    if theirs.images != mine.images:
        yield f"{theirs.images:,} images, not {mine.images:,}"


def _listed(items: Sequence[Row]) -> str:
    names = [item.name for item in items[:_NAMES_SHOWN]]
    rest = len(items) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")
