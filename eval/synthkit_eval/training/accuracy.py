"""Accuracies from a confusion matrix, and the intervals of their means over runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit_eval.score import ACCURACIES, GROUPS, Accuracies, Accuracy, Mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit_eval.score import Group


@dataclass(frozen=True, slots=True)
class Grouping:
    """The classes of each group, and how many evaluation images each class has: (C,)."""

    members: Mapping[Group, tuple[int, ...]]
    images: NDArray[np.int64]

    @classmethod
    def of(cls, groups: Sequence[Group], images: NDArray[np.int64]) -> Grouping:
        """Make it from the group of each class."""
        members = {g: tuple(c for c, group in enumerate(groups) if group == g) for g in GROUPS}
        return cls({group: classes for group, classes in members.items() if classes}, images)

    def parts(self, per_class: NDArray[np.float64]) -> dict[str, float | None]:
        """Return the accuracy over all images, and the means over all classes and over those of a group."""
        found: dict[str, float | None] = dict.fromkeys(ACCURACIES)
        found["overall"] = float((per_class * self.images).sum() / self.images.sum())
        found["class_mean"] = float(per_class.mean())
        for group, classes in self.members.items():
            found[group] = float(per_class[list(classes)].mean())
        return found

    def weights(self, part: str) -> NDArray[np.float64]:
        """Return the weight of each class in the accuracy of a part: (C,), with sum 1."""
        if part == "overall":
            return np.asarray(self.images / self.images.sum())
        weights = np.zeros(len(self.images))
        classes = list(range(len(weights)) if part == "class_mean" else self.members[part])  # type: ignore[index]
        weights[classes] = 1 / len(classes)
        return weights


def per_class(
    predictions: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.float64]:
    """Return the top-1 accuracy of each class (C,) from the predicted and the true class of N images."""
    right = np.bincount(labels[predictions == labels], minlength=classes)
    return np.asarray(right / np.bincount(labels, minlength=classes))


def accuracies(runs: Sequence[NDArray[np.float64]], grouping: Grouping) -> Accuracies:
    """Return the accuracies of all parts, from those of each class (C,) in each run."""
    found: dict[str, Any] = dict.fromkeys(ACCURACIES)
    parts = [grouping.parts(run) for run in runs]
    for part in ACCURACIES:
        values = [value for run in parts if (value := run[part]) is not None]
        if values:
            found[part] = Accuracy(
                **Mean.of(values).model_dump(), images_ci95=_of_images(np.mean(runs, axis=0), grouping, part)
            )
    return Accuracies(**found)


def _of_images(accuracy: NDArray[np.float64], grouping: Grouping, part: str) -> float:
    """Return half of the 95 % interval for another draw of evaluation images.

    It is binomial with the four added images of Agresti and Coull (1998), so that 100 % of a few images does
    not pass for certain. Where classes differ in size, it takes the number of images with the same variance.
    """
    weights = grouping.weights(part)
    images = 1 / float((weights**2 / grouping.images).sum())
    adjusted = (float((weights * accuracy).sum()) * images + 2) / (images + 4)
    return float(1.96 * np.sqrt(adjusted * (1 - adjusted) / (images + 4)))
