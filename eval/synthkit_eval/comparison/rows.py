"""The rows of a comparison: scores that differ only by chance stand together in one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean
from typing import TYPE_CHECKING

from synthkit_eval.score import ACCURACIES, GROUPS, PARTS, Accuracies, Accuracy, Mean, SetMetrics, SetScore

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.score import Score

BASELINE = "random-image"
# What numbers the draws at the end of releases' names.
_NUMBERING = re.compile(r"[-_](seed|draw|trial)?[-_]?$")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was scored, once or several times: releases that differ in seed and shots alone.

    `name` distinguishes it in its section; `files` are its scores.
    """

    name: str
    files: tuple[ScoreFile, ...]

    @property
    def score(self) -> Score:
        """Its first score, for what is the same in all of them."""
        return self.files[0].score

    @property
    def scores(self) -> list[Score]:
        """Its scores."""
        return [file.score for file in self.files]

    @property
    def label(self) -> str:
        """Its method; of real images alone their name without the number of steps."""
        return self.score.name if self.score.release is None else self.score.release.method

    @property
    def seeds(self) -> int:
        """The smallest number of training runs that one of its scores has."""
        return min(len(score.seeds) for score in self.scores)

    @property
    def runs(self) -> str:
        """How often it was made and trained, as `5 × 3`: 5 releases or choices of shots, 3 runs of each."""
        return f"{len(self.files)} × {self.seeds}" if len(self.files) > 1 else str(self.seeds)

    @property
    def accuracy(self) -> Accuracies:
        """Its accuracies; of several scores the means, with the intervals of these means over the scores."""
        if len(self.files) == 1:
            return self.score.accuracy
        return Accuracies(**{part: self._over_scores(part) for part in ACCURACIES})

    def _over_scores(self, part: str) -> Accuracy | None:
        found: list[Accuracy | None] = [getattr(score.accuracy, part) for score in self.scores]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            return None
        over = Mean.of([one.mean for one in known])
        return Accuracy(**over.model_dump(), images_ci95=fmean(one.images_ci95 for one in known))

    @property
    def operations(self) -> float | None:
        """The TFLOP of all images of one release, draws and learned tokens counted; None if not known."""
        release = self.score.release
        if release is None or release.operations is None:
            return None
        return release.operations * release.images + (release.learning or 0.0)

    @property
    def sets(self) -> SetScore | None:
        """Its set metrics; of several scores the means of each metric that all have."""
        found = [score.set_metrics for score in self.scores]
        known = [one for one in found if one is not None]
        if len(known) < len(found) or len({one.features for one in known}) != 1:
            return None
        means = {part: _mean_metrics([getattr(one, part) for one in known]) for part in PARTS}
        return known[0].model_copy(update=means)


def _mean_metrics(found: Sequence[SetMetrics | None]) -> SetMetrics | None:
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    means: dict[str, float | None] = {}
    for name in SetMetrics.model_fields.keys() - {"real", "synthetic"}:
        values = [getattr(one, name) for one in known]
        means[name] = None if None in values else fmean(values)
    return known[0].model_copy(update=means)


def make_rows(files: Sequence[ScoreFile]) -> list[Row]:
    """Return a row for each kin of scores: real images alone first, then random-image, then as given."""
    kin: dict[Hashable, list[ScoreFile]] = {}
    for file in files:
        # Two scores of one draw (the same release, scored twice) are rows of their own.
        number = sum(_same_draw(file.score, one.score) for group in kin.values() for one in group)
        kin.setdefault((file.owner, *_kin(file.score), number), []).append(file)
    members = [sorted(group, key=lambda file: _draw(file.score)) for group in kin.values()]
    rows = [Row(name, tuple(group)) for name, group in zip(_names(members), members, strict=True)]
    return sorted(rows, key=standing)


def share_of_real(score: Score) -> float:
    """Return the share of real images in its minibatches."""
    share = score.protocol.settings.get("batches", {}).get("real", 0.5)
    return float(share) if isinstance(share, int | float) else 0.5


def told_parts(rows: Sequence[Row]) -> list[str]:
    """Return the parts of the accuracy that tell something: overall, and groups where there are several."""
    found = [row.accuracy for row in rows]
    # Where all classes are of one group, its mean is that over all classes.
    groups = [group for group in GROUPS if any(getattr(one, group) for one in found)]
    return ["overall", *(groups if len(groups) > 1 else [])]


def tells_cost(rows: Sequence[Row]) -> bool:
    """Return whether sampling took more operations in one row than in another."""
    return len({row.operations for row in rows} - {None}) > 1


def standing(row: Row) -> int:
    """Return where a row stands: real images alone first, then the baseline, then the others."""
    release = row.score.release
    return 0 if release is None else 1 if release.method == BASELINE else 2


def _kin(score: Score) -> tuple[Hashable, ...]:
    if score.release is None:
        return "real", score.steps
    release = score.release
    return release.kin, release.images, release.version, score.steps, score.protocol.digest


def _draw(score: Score) -> tuple[int, int]:
    release = score.release
    return (0, 0) if release is None else (release.trial or 0, release.seed)


def _same_draw(score: Score, other: Score) -> bool:
    same = _kin(score) == _kin(other) and _draw(score) == _draw(other)
    return same and score.on_images_of(other)


def _names(groups: Sequence[Sequence[ScoreFile]]) -> list[str]:
    """Return a name for each, the shortest that distinguishes it from the others."""
    forms = [_forms(group) for group in groups]
    counts = Counter(name for form in forms for name in set(form))
    return [next((name for name in form if counts[name] == 1), form[-1]) for form in forms]


def _forms(files: Sequence[ScoreFile]) -> tuple[str, ...]:
    """Return names, from the shortest to the longest."""
    file = files[0]
    score, release = file.score, file.score.release
    name = _shared_name([one.score.name for one in files])
    if release is None:
        longer = f"{name}, {score.steps:,} steps"
        return name, longer, f"{longer} ({file.path})"
    mixed = f"{name}, {100 * share_of_real(score):g} % real"
    images = f"{mixed}, {release.images:,} images"
    generator, version = f"{name} by {release.generator}", f"{name} {release.version}"
    return name, mixed, images, generator, version, f"{version} ({file.path})"


def _shared_name(names: Sequence[str]) -> str:
    """Return what the names of draws have in common: `digits-draw0` and `digits-draw1` are `digits`."""
    if len(set(names)) == 1:
        return names[0]
    letters = takewhile(lambda alike: len(set(alike)) == 1, zip(*names, strict=False))
    shared = "".join(alike[0] for alike in letters)
    return _NUMBERING.sub("", shared.rstrip("0123456789")) or names[0]
