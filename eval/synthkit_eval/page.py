"""What the page of a release tells of its scores: accuracies, and which classes gained or lost.

Differences are from real images alone, by the statistics of `synthkit compare`: paired by evaluation image,
over training runs and images at once. A difference is told from chance if its p-value is below 0.05 after
Holm's correction (1979) for the number of classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.errors import ScoreError
from synthkit.page.scored import ClassTold, Difference, PartTold, ScoreTold
from synthkit_eval.comparison.find import find_scores
from synthkit_eval.comparison.statistics import LEVEL, Images, holm, paired, unpaired
from synthkit_eval.score import GROUPS
from synthkit_eval.told_score import kinds_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.release.manifest import Manifest
    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.comparison.statistics import Estimate
    from synthkit_eval.score import Score, SetMetrics

_METRICS = (
    ("fid", "FID (0 is the same)"),
    ("kid", "KID"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("density", "Density"),
    ("coverage", "Coverage"),
    ("vendi", "Vendi score"),
)


class _Pair(NamedTuple):
    """A score of a release, and the one of real images alone that it is compared with."""

    mine: ScoreFile
    real: ScoreFile

    def difference(self, keep: NDArray[np.bool_], weights: NDArray[np.float64]) -> Estimate:
        """Return the difference over some evaluation images, (N,); weights (C,) are those of the classes."""
        ours, others = self.mine.detail, self.real.detail
        place = {name: number for number, name in enumerate(others.ids)}
        order = np.array([place[name] for name in ours.ids])
        mine, theirs = ours.right[:, keep].astype(float), others.right[:, order][:, keep].astype(float)
        same = [run.seed for run in self.mine.score.seeds] == [run.seed for run in self.real.score.seeds]
        return (paired if same else unpaired)(mine, theirs, Images(ours.labels[keep], weights))


def scores_of_release(files: Sequence[Path], manifest: Manifest) -> list[ScoreTold]:
    """Return what score files tell of a release, and of what it gained over the real-only scores beside them.

    Raises ScoreError if a file is no score, or none of this release.
    """
    found = find_scores([str(path) for path in files]).files
    mine = [file for file in found if file.score.release is not None]
    real = [file for file in found if file.score.release is None]
    told = []
    for path in files:
        of_file = [file for file in mine if file.path == path]
        own = [file for file in of_file if _is_of(file.score, manifest)]
        if not own:
            raise ScoreError(_other(path, of_file, manifest))
        told += [_told(file, _real_of(file, real), manifest) for file in own]
    return told


def _is_of(score: Score, manifest: Manifest) -> bool:
    return score.release is not None and score.release.recipe_digest == manifest.recipe_digest


def _other(path: Path, found: Sequence[ScoreFile], manifest: Manifest) -> str:
    """Return why a file is refused."""
    this = f"{manifest.name} {manifest.version}"
    advice = f"give one that synthkit eval made of {this}"
    stated = found[0].score.release if found else None
    if stated is None:
        return f"{path}: is a score of real images alone, which is found beside one of {this}; {advice}"
    return (
        f"{path}: is a score of {stated.name} {stated.version} with recipe digest "
        f"{stated.recipe_digest[:12]}, not of {this} with {manifest.recipe_digest[:12]}; {advice}"
    )


def _real_of(file: ScoreFile, real: Sequence[ScoreFile]) -> ScoreFile | None:
    """Return the real-only score with the most runs that was trained as long, on the same images."""
    fitting = [
        other
        for other in real
        if other.score.compares_with(file.score)
        and other.score.on_images_of(file.score)
        and other.score.steps == file.score.steps
        and set(other.detail.ids) == set(file.detail.ids)
    ]
    return max(fitting, key=lambda other: len(other.score.seeds), default=None)


def _told(file: ScoreFile, real: ScoreFile | None, manifest: Manifest) -> ScoreTold:
    score, protocol = file.score, file.score.protocol
    pair = None if real is None else _Pair(file, real)
    classes = _classes(file, pair)
    return ScoreTold(
        title=f"{protocol.name}, version {protocol.version}",
        how=(
            f"{protocol.settings.get('network', 'A classifier')}, trained on {kinds_of(score)} images, "
            f"{len(score.seeds)} runs; tested on {score.data.evaluation_images:,} real images. "
            "Intervals are of 95 %: over training runs, and over the choice of evaluation images."
        ),
        parts=_parts(file, pair),
        metrics=_metrics(score),
        classes=classes,
        baseline="" if pair is None else _baseline(pair, classes),
        notes=_notes(score, pair, manifest),
    )


def _parts(file: ScoreFile, pair: _Pair | None) -> list[PartTold]:
    found = []
    for part, accuracy in file.score.accuracy:
        # Where every class has as many evaluation images, both are the same.
        if accuracy is None or (part == "class_mean" and accuracy.mean == file.score.accuracy.overall.mean):
            continue
        real = None if pair is None else getattr(pair.real.score.accuracy, part)
        estimate = None if pair is None or real is None else _of_part(pair, part)
        found.append(
            PartTold(
                {"overall": "all", "class_mean": "mean of classes"}.get(part, f"{part} classes"),
                accuracy.mean,
                accuracy.ci95,
                accuracy.images_ci95,
                None if real is None else real.mean,
                None if estimate is None else _difference(estimate, estimate.p),
            )
        )
    return found


def _of_part(pair: _Pair, part: str) -> Estimate | None:
    """Return the difference over all images or those of a group; None if no class of it has images."""
    labels, classes = pair.mine.detail.labels, pair.mine.detail.classes
    counts = np.bincount(labels, minlength=len(classes)).astype(float)
    inside = np.array([part not in GROUPS or item.group == part for item in classes]) & (counts > 0)
    if not inside.any():
        return None
    weights = np.where(inside, counts if part == "overall" else 1.0, 0.0)
    return pair.difference(inside[labels], weights / weights.sum())


def _classes(file: ScoreFile, pair: _Pair | None) -> list[ClassTold]:
    """Return every class with evaluation images."""
    known = [item for item in file.detail.classes if item.evaluation]
    estimates: list[Estimate | None] = [None] * len(known)
    corrected: list[float] = [1.0] * len(known)
    if pair is not None:
        found = [_of_class(pair, item.label) for item in known]
        estimates, corrected = list(found), holm([one.p for one in found])
    real = {} if pair is None else {item.label: item.accuracy.mean for item in pair.real.detail.classes}
    return [
        ClassTold(
            item.label,
            item.accuracy.mean,
            item.accuracy.ci95,
            real.get(item.label),
            None if estimate is None else _difference(estimate, p),
        )
        for item, estimate, p in zip(known, estimates, corrected, strict=True)
    ]


def _of_class(pair: _Pair, label: int) -> Estimate:
    weights = np.zeros(len(pair.mine.detail.classes))
    weights[label] = 1.0
    return pair.difference(pair.mine.detail.labels == label, weights)


def _difference(estimate: Estimate, p: float) -> Difference:
    low, high = estimate.interval
    return Difference(estimate.difference, low, high, p < 1 - LEVEL)


def _baseline(pair: _Pair, classes: Sequence[ClassTold]) -> str:
    differences = [item.difference for item in classes if item.difference is not None]
    gained = sum(one.shown and one.value > 0 for one in differences)
    lost = sum(one.shown and one.value < 0 for one in differences)
    return (
        f"Against real images alone, trained as many steps ({len(pair.real.score.seeds)} runs): of "
        f"{len(differences):,} classes {gained:,} gained and {lost:,} lost more than chance explains, "
        f"corrected for {len(differences):,} comparisons (Holm); the others may have done either."
    )


def _metrics(score: Score) -> list[tuple[str, str]]:
    if score.set_metrics is None:
        return []
    overall: SetMetrics = score.set_metrics.overall
    told = [
        (title, f"{value:.4g}") for name, title in _METRICS if (value := getattr(overall, name)) is not None
    ]
    return [*told, ("Features", score.set_metrics.features)] if told else []


def _notes(score: Score, pair: _Pair | None, manifest: Manifest) -> list[str]:
    notes = [] if score.set_metrics is None else [*score.set_metrics.notes]
    if score.release is not None and score.release.seal != manifest.seal:
        notes.append(
            "The score was made when the release had another manifest, as before an audit or publishing; its "
            "recipe, and so its images, are the same."
        )
    if pair is None:
        notes.append("There is no score of real images alone beside it: synthkit eval --real-only makes one.")
    return notes
