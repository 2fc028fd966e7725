"""Which runs of two rows belong together, and how far apart their accuracies are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit_eval.comparison.statistics import Estimate, Images, paired, unpaired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.score_detail import Detail

_Block = tuple[str, str]


def difference(mine: Row, theirs: Row, part: str = "overall") -> Estimate | None:
    """Return the difference of two rows' accuracies, None if they share no real images or lack the part.

    Runs on the same choice of shots, of releases with the same seeds, or with the same training seeds are
    paired. If there are several choices of shots or several releases on both sides, each of them is a run,
    with its training runs averaged; else each training run is one.
    """
    ours, others = _blocks(mine), _blocks(theirs)
    common = [block for block in ours if block in others]
    if not common:
        return None
    images = _Union([file.detail for block in common for file in (*ours[block], *others[block])], part)
    if images.weights is None:
        return None
    if len(common) > 1:
        return paired(_by_block(ours, common, images), _by_block(others, common, images), images.weighed())
    return _within(ours[common[0]], others[common[0]], images)


def _within(mine: Sequence[ScoreFile], theirs: Sequence[ScoreFile], images: _Union) -> Estimate:
    """Return the difference of scores that share all real images."""
    if len(mine) == len(theirs) == 1:
        rows, others_rows = images.runs(mine[0].detail), images.runs(theirs[0].detail)
        together = _seeds(mine[0]) == _seeds(theirs[0])
        return (paired if together else unpaired)(rows, others_rows, images.weighed())
    ours, others = (_by_release(side, images) for side in (mine, theirs))
    if [_seed(file) for file in mine] == [_seed(file) for file in theirs]:
        return paired(ours, others, images.weighed())
    return unpaired(ours, others, images.weighed())


def _seeds(file: ScoreFile) -> list[int]:
    return [run.seed for run in file.score.seeds]


def _by_block(
    side: Mapping[_Block, Sequence[ScoreFile]], blocks: Sequence[_Block], images: _Union
) -> NDArray[np.float64]:
    return np.stack([images.mean([file.detail for file in side[block]]) for block in blocks])


def _by_release(side: Sequence[ScoreFile], images: _Union) -> NDArray[np.float64]:
    if len(side) == 1:
        return images.runs(side[0].detail)
    return np.stack([images.mean([file.detail]) for file in side])


def _seed(file: ScoreFile) -> int | None:
    return None if file.score.release is None else file.score.release.seed


def _blocks(row: Row) -> dict[_Block, list[ScoreFile]]:
    found: dict[_Block, list[ScoreFile]] = {}
    for file in row.files:
        data = file.score.data
        found.setdefault((data.training_digest, data.evaluation_digest), []).append(file)
    return found


class _Union:
    """The evaluation images of several scores, and what each weighs in one part of the accuracy."""

    def __init__(self, details: Sequence[Detail], part: str) -> None:
        self._place: dict[str, int] = {}
        labels: list[int] = []
        for detail in details:
            for name, label in zip(detail.ids, detail.labels.tolist(), strict=True):
                if name not in self._place:
                    self._place[name] = len(labels)
                    labels.append(label)
        self._labels = np.asarray(labels)
        groups = [item.group for item in details[0].classes]
        counted = [part in ("overall", "class_mean", group) for group in groups]
        counts = np.bincount(self._labels, minlength=len(groups)).astype(np.float64)
        self.weights: NDArray[np.float64] | None = None
        if any(counted):
            weights = np.where(counted, counts if part == "overall" else 1.0, 0.0)
            self.weights = weights / weights.sum()

    def weighed(self) -> Images:
        """Return the images as the statistics take them."""
        assert self.weights is not None  # noqa: S101
        return Images(self._labels, self.weights)

    def runs(self, detail: Detail) -> NDArray[np.float64]:
        """Return whether each run is right about each image, NaN where it was not tested on it: (S, N)."""
        found = np.full((len(detail.predictions), len(self._labels)), np.nan)
        found[:, [self._place[name] for name in detail.ids]] = detail.right
        return found

    def mean(self, details: Sequence[Detail]) -> NDArray[np.float64]:
        """Return how often runs are right about each image, the mean over scores: (N,)."""
        return np.asarray(np.mean([self.runs(detail).mean(axis=0) for detail in details], axis=0))
