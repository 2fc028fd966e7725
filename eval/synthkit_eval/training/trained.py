"""A finished training run: its measurements, and the epoch of it that counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit_eval.score import ACCURACIES, Epoch, SeedScore
from synthkit_eval.training.predictions import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def counted(history: Sequence[Mapping[str, Any]], report: str) -> int:
    """Return the epoch (from 0) that counts: the last, or the first of highest accuracy in the last stage.

    For `best` that is the accuracy on the evaluation images, for `validation` that on the validation images.
    """
    if report == "last":
        return len(history) - 1
    measure = "overall" if report == "best" else "validation"
    first = next(epoch for epoch, row in enumerate(history) if row["stage"] == history[-1]["stage"])
    return first + int(np.argmax([row[measure] for row in history[first:]]))


def forget_predictions(history: Sequence[dict[str, Any]]) -> None:
    """Drop the predictions of the epochs that cannot count any more: those of all images are large."""
    reports = ["last", "best", *(["validation"] if history[0]["validation"] is not None else [])]
    kept = {counted(history, report) for report in reports}
    for epoch, row in enumerate(history):
        if epoch not in kept:
            row.pop("predictions", None)


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run: `history` holds the measurements after each epoch, `git` the commit of the code.

    Rows of epochs that may count have the predictions of all evaluation images, as `packed` writes them.
    """

    seed: int
    history: list[dict[str, Any]]
    git: str = ""

    @property
    def seconds(self) -> float:
        """Time of training and testing, also before the run was stopped and continued."""
        return float(sum(row["seconds"] for row in self.history))

    def counted(self, report: str) -> int:
        """Return the epoch (from 0) that counts, as the function of this name does."""
        return counted(self.history, report)

    def per_class(self, report: str) -> NDArray[np.float64]:
        """Return the accuracy of each class (C,) in the epoch that counts."""
        return np.asarray(self.history[self.counted(report)]["per_class"])

    def loss(self, report: str) -> float:
        """Return the cross-entropy on the evaluation images in the epoch that counts."""
        return float(self.history[self.counted(report)]["loss"])

    def predictions(self, report: str) -> NDArray[np.uint16]:
        """Return the class that the network finds in each evaluation image (N,) in the epoch that counts."""
        return unpacked(self.history[self.counted(report)]["predictions"])

    def epochs(self) -> list[Epoch]:
        """Return the measurements of every epoch."""
        return [Epoch(**{key: row[key] for key in Epoch.model_fields}) for row in self.history]

    def score(self, report: str) -> SeedScore:
        """Return the run as a score file states it."""
        epoch = self.counted(report)
        parts = {part: self.history[epoch][part] for part in ACCURACIES}
        return SeedScore(seed=self.seed, epoch=epoch + 1, **parts, seconds=round(self.seconds, 2))
