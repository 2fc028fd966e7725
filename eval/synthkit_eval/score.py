"""A score: everything that was measured of a release, and what it was measured with.

`json_schema` documents every key of its JSON file; `synthkit schema score` prints it. What is measured of
each image, epoch and class is in a table of its own (`score_detail`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Sequence

SCORE_FORMAT = 2
# The name of real images alone in tables.
REAL_ONLY = "real only"
Group = Literal["many", "medium", "few"]
TrainedOn = Literal["real and synthetic", "synthetic", "real"]
GROUPS: tuple[Group, ...] = ("many", "medium", "few")
PARTS = ("overall", *GROUPS)
# What accuracies are stated of; sets of images are compared by PARTS.
ACCURACIES = ("overall", "class_mean", *GROUPS)


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Mean(_Facts):
    """A mean over seeds."""

    mean: float = Field(description="Mean over the seeds.")
    ci95: float | None = Field(
        description="Half of the 95 % interval of the mean over seeds (Student's t); null with one seed."
    )

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Return the mean of values and half of its 95 % interval."""
        from scipy import stats

        count, half = len(values), None
        if count > 1:
            half = float(stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
        return Mean(mean=float(np.mean(values)), ci95=half)


class Accuracy(Mean):
    """A top-1 accuracy between 0 and 1: a mean over seeds, and how far the choice of images matters."""

    images_ci95: float = Field(
        description="Half of the 95 % interval for another draw of as many evaluation images (binomial). "
        "Seeds do not show it; it is the same images that score every release."
    )


class Accuracies(_Facts):
    """Top-1 accuracy over all evaluation images, over all classes, and of groups of classes.

    Those of groups, and `class_mean`, are means of the accuracies of their classes.
    """

    overall: Accuracy = Field(description="Over all evaluation images.")
    class_mean: Accuracy = Field(description="Mean over all classes, each counting the same.")
    many: Accuracy | None = Field(description="Mean over the classes with many real training images.")
    medium: Accuracy | None = Field(description="Mean over the classes between.")
    few: Accuracy | None = Field(description="Mean over the classes with few real training images.")


class ProtocolFacts(_Facts):
    """How the classifiers were trained and tested."""

    name: str = Field(description="Name of the protocol.")
    version: int = Field(description="Version of the protocol; scores of different ones do not compare.")
    digest: str = Field(description="SHA-256 of all settings: equal means trained and tested the same way.")
    kin: str = Field(description="Equal for protocols that differ in the mixture of images alone.")
    changed: list[str] = Field(description="What --set changed, as given.")
    settings: dict[str, Any] = Field(description="Every setting of the protocol, defaults filled in.")


class ReleaseFacts(_Facts):
    """The release that was scored."""

    name: str = Field(description="Name of the release.")
    version: str = Field(description="Its semantic version.")
    recipe_digest: str = Field(description="The digest of its recipe, from its manifest.")
    seal: str = Field(description="The seal of its manifest, which stands for every byte.")
    method: str = Field(description="How its conditioning was augmented.")
    guidance_scale: float = Field(description="Classifier-free guidance scale of its images.")
    generator: str = Field(description="The model that made its images.")
    images: int = Field(
        ge=0,
        le=10**12,
        description="Its synthetic images that trained: all, unless the protocol has synthetic_per_class.",
    )
    seed: int = Field(description="The seed of its recipe.")
    kin: str = Field(description="Equal for releases that differ in seed and choice of shots alone.")
    shots: int | None = Field(description="Real images of each class, of a few-shot release.")
    trial: int | None = Field(description="Which random choice of shots.")
    operations: float | None = Field(
        None,
        ge=0,
        le=1e9,
        description="Floating-point operations of sampling an image, in TFLOP, with all its draws; null if "
        "the network is not known.",
    )
    learning: float | None = Field(
        None,
        ge=0,
        le=1e15,
        description="Floating-point operations of learning the tokens of its classes, in TFLOP; null without "
        "tokens, or if the network is not known.",
    )


class DataFacts(_Facts):
    """The real images."""

    training_digest: str = Field(
        description="Digest over ids, labels and contents of the real training images."
    )
    training_images: int = Field(description="Real training images.")
    evaluation_digest: str = Field(
        description="Digest over ids, labels and contents of the evaluation images."
    )
    evaluation_images: int = Field(description="Evaluation images.")
    validation_digest: str | None = Field(
        None,
        description="Digest over ids, labels and contents of the validation images, which choose the epoch; "
        "null without any.",
    )
    validation_images: int | None = Field(None, description="Validation images; null without any.")
    classes: int = Field(description="Classes.")
    groups: str = Field(description="Digest over the group of each class.")
    kin: str = Field(description="Equal for the choices of shots from one data set; else as the two digests.")


class ClassScore(_Facts):
    """One class."""

    label: int = Field(description="Its number.")
    name: str = Field(description="Its name.")
    group: Group = Field(description="many, medium or few, by its real training images.")
    real: int = Field(description="Its real training images.")
    synthetic: int = Field(description="Its synthetic images that trained.")
    evaluation: int = Field(description="Its evaluation images.")
    accuracy: Mean = Field(description="Its top-1 accuracy.")


class Epoch(_Facts):
    """One epoch of one training run; accuracies are of the evaluation images after it."""

    epoch: int = Field(description="From 1.")
    learning_rate: float = Field(description="Learning rate in this epoch.")
    training_loss: float = Field(description="Mean loss of the training batches.")
    loss: float = Field(description="Cross-entropy on the evaluation images.")
    overall: float = Field(description="Accuracy over all evaluation images.")
    class_mean: float = Field(description="Mean accuracy of all classes.")
    many: float | None = Field(description="Mean accuracy of the many classes.")
    medium: float | None = Field(description="Mean accuracy of the medium classes.")
    few: float | None = Field(description="Mean accuracy of the few classes.")
    validation: float | None = Field(
        None, description="Accuracy over all validation images; null without any."
    )


class SeedScore(_Facts):
    """One training run."""

    seed: int = Field(description="Decides initial weights, order and augmentation.")
    epoch: int = Field(description="The epoch whose accuracies count, by the protocol's `report`.")
    overall: float = Field(description="Accuracy in that epoch over all evaluation images.")
    class_mean: float = Field(description="Mean accuracy of all classes.")
    many: float | None = Field(description="Mean accuracy of the many classes.")
    medium: float | None = Field(description="Mean accuracy of the medium classes.")
    few: float | None = Field(description="Mean accuracy of the few classes.")
    seconds: float = Field(description="Time of training and testing.")


class SetMetrics(_Facts):
    """Distances from the release to the evaluation images in a feature space; null with too few images."""

    real: int = Field(description="Evaluation images that were compared.")
    synthetic: int = Field(description="Synthetic images that were compared.")
    fid: float | None = Field(description="Fréchet distance of two Gaussians; 0 is the same (Heusel 2017).")
    kid: float | None = Field(
        description="Kernel (MMD²) distance, unbiased, so around 0 when the same (Bińkowski 2018)."
    )
    precision: float | None = Field(description="Share of synthetic images inside the real ones' manifold.")
    recall: float | None = Field(
        description="Share of real images inside the synthetic ones' manifold (Kynkäänniemi 2019)."
    )
    density: float | None = Field(description="As precision, counting neighbours: may exceed 1.")
    coverage: float | None = Field(
        description="Share of real images with a synthetic one in their neighbourhood (Naeem 2020)."
    )
    vendi: float | None = Field(
        description="Vendi score of the synthetic images, mean over classes: their effective number "
        "(Friedman 2023), of as many synthetic as real images of each class."
    )
    vendi_real: float | None = Field(description="The same of as many evaluation images.")
    distance: float | None = Field(
        description="Mean pairwise cosine distance of synthetic images within a class, mean over classes."
    )
    distance_real: float | None = Field(description="The same of the evaluation images.")


class SetScore(_Facts):
    """The set metrics over all classes and by group."""

    features: str = Field(description="The feature space: a model's name.")
    dimensions: int = Field(description="Its dimensions.")
    overall: SetMetrics = Field(description="All classes together.")
    many: SetMetrics | None = Field(description="The many classes.")
    medium: SetMetrics | None = Field(description="The medium classes.")
    few: SetMetrics | None = Field(description="The few classes.")
    notes: list[str] = Field(description="What could not be measured, and how many images it needs.")


class Score(_Facts):
    """A score: what was trained on what, and how well it did."""

    format_version: Literal[2] = Field(2, description="Format of this file.")
    trained_on: TrainedOn = Field(description="The training images.")
    protocol: ProtocolFacts = Field(description="How it was trained and tested.")
    release: ReleaseFacts | None = Field(description="The release; null for real images alone.")
    data: DataFacts = Field(description="The real images.")
    steps: int = Field(description="Optimiser steps of each run.")
    accuracy: Accuracies = Field(description="Top-1 accuracy, between 0 and 1.")
    best: Accuracies = Field(
        description="The same at each run's best epoch on the evaluation images: an upper bound, chosen with "
        "the test part in sight."
    )
    loss: Mean = Field(description="Cross-entropy on the evaluation images.")
    seeds: list[SeedScore] = Field(description="Every training run.")
    set_metrics: SetScore | None = Field(
        description="How near the release is to the evaluation images; null for real images alone."
    )
    environment: dict[str, str] = Field(
        description="Device, library versions, threads, processes, and the git commit of the code (or else "
        "of the folder it ran in; none outside git)."
    )
    seconds: float = Field(description="Time of all runs.")

    @property
    def name(self) -> str:
        """Its name in tables: the release's name, or `real only`."""
        return REAL_ONLY if self.release is None else self.release.name

    def compares_with(self, other: Score) -> bool:
        """Return whether both were trained and tested the same way on the same real images.

        Choices of shots from one data set compare as well (`on_images_of` tells them apart), and so do other
        mixtures of real and synthetic images.
        """
        mine, theirs = ((score.protocol.kin, score.data.kin, score.data.groups) for score in (self, other))
        return mine == theirs

    def on_images_of(self, other: Score) -> bool:
        """Return whether both were trained on the same real images and tested on the same ones."""
        mine, theirs = ((s.data.training_digest, s.data.evaluation_digest) for s in (self, other))
        return mine == theirs


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a score file, every key described."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Score.model_json_schema(),
        "title": f"synthkit score, format {SCORE_FORMAT}",
    }
