"""Scores that were trained again here: whether they came to the same as those that were handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit_eval.comparison.pairs import difference
from synthkit_eval.comparison.rows import Row
from synthkit_eval.comparison.statistics import LEVEL, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.comparison.statistics import Estimate
    from synthkit_eval.score import Score


def trained_again(handed_in: Sequence[ScoreFile], own: Sequence[ScoreFile]) -> list[str | None]:
    """Return for each score what training again here came to; None if it was not.

    p-values are corrected for the number of scores that were trained again and did not come out the same.
    """
    pairs = [next((other for other in own if _same_task(file, other)), None) for file in handed_in]
    found = [
        None if other is None else _compared(file, other)
        for file, other in zip(handed_in, pairs, strict=True)
    ]
    corrected = iter(holm([one.p for one in found if one is not None and not isinstance(one, str)]))
    return [one if one is None or isinstance(one, str) else _told(one, next(corrected)) for one in found]


def _same_task(file: ScoreFile, other: ScoreFile) -> bool:
    mine, theirs = (task_of(one.score) for one in (file, other))
    return mine == theirs and file.detail.ids == other.detail.ids


def task_of(score: Score) -> tuple[object, ...]:
    """Return what was trained and tested: equal for scores that would be the same, but for the machine."""
    release = score.release
    images = None if release is None else (release.seal, release.images)
    data = score.data
    return images, score.steps, score.protocol.digest, data.training_digest, data.evaluation_digest


def _compared(file: ScoreFile, other: ScoreFile) -> str | Estimate | None:
    mine, theirs = (
        dict(zip((run.seed for run in one.score.seeds), one.detail.predictions, strict=True))
        for one in (file, other)
    )
    common = mine.keys() & theirs.keys()
    if common and all(np.array_equal(mine[seed], theirs[seed]) for seed in common):
        return f"the same predictions in {len(common)} of {len(mine)} runs"
    return difference(Row("here", (other,)), Row("handed in", (file,)))


def _told(one: Estimate, p: float) -> str:
    low, high = (100 * end for end in one.interval)
    chance = "more than chance" if p < 1 - LEVEL else "which may be chance"
    return f"{100 * one.difference:+.1f} points ({low:+.1f} to {high:+.1f}), {chance}"
