"""`sampler.feedback`: guidance by a classifier, towards images that it finds hard; the recipe's part of it.

Source: Hemmat et al., Feedback-guided Data Synthesis for Imbalanced Classification, arXiv 2310.00158.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, ValidationInfo, field_validator

from synthkit.config.section import Section
from synthkit.errors import RecipeError
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit.recipe.grown import Earlier

# The dotted name of the classifier's section.
SECTION = "sampler.feedback.classifier"


class ClassifierTraining(Section):
    """How a classifier is trained on the real images of a recipe: by AdamW, each class as often as another.

    The learning rate falls as a cosine to 0. Images are moved by up to an eighth of their edge.
    """

    steps: int = Field(300, ge=1, le=1_000_000, description="Steps of the optimiser.")
    batch_size: int = Field(32, ge=2, le=4096, description="Images in each step, drawn with replacement.")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="The first learning rate.")


class FeedbackClassifier(Section):
    """The classifier that guides: a timm network, trained on the real images, or with weights from a file."""

    network: str = Field(
        "resnet18",
        max_length=100,
        # No name by which timm would ask the Hub or a folder.
        pattern=r"^[a-z0-9_]+(\.[a-z0-9_.]+)?$",
        description="The network, by timm's name.",
    )
    size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Edge in pixels of the images that it is given; by default the network's own, often 224.",
        examples=[32],
    )
    checkpoint: str | None = Field(
        None,
        min_length=1,
        description="Its weights, a safetensors file; by default it is trained on the real images of the "
        "recipe, and kept in the work folder.",
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="The SHA-256 that the file of its weights must have; a release states it.",
    )
    training: ClassifierTraining | None = Field(
        None,
        validate_default=True,
        description="How it is trained, unless checkpoint names weights of another origin.",
        examples=[{"steps": 200}],
    )

    @field_validator("training")
    @classmethod
    def _trained_or_given(
        cls, training: ClassifierTraining | None, info: ValidationInfo
    ) -> ClassifierTraining | None:
        if not {"checkpoint", "sha256"} <= info.data.keys():  # Reported already.
            return training
        if info.data["checkpoint"] is None:
            return training or ClassifierTraining()
        if training is not None and info.data["sha256"] is None:
            raise ValueError(
                "cannot be given together with checkpoint, unless sha256 says that these are its weights; "
                "remove one of them"
            )
        return training

    @property
    def path(self) -> Path | None:
        """The file of weights, `~` as the home folder; None if none is named."""
        return None if self.checkpoint is None else Path(os.path.expanduser(self.checkpoint))  # noqa: PTH111

    @property
    def is_trained(self) -> bool:
        """Whether it is trained on the real images of the recipe."""
        return self.training is not None

    def content(self) -> str:
        """Return the SHA-256 of the file that is named. Raises RecipeError if it cannot be read."""
        assert self.path is not None  # noqa: S101 (for the type checker)
        try:
            return sha256_of(self.path)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise RecipeError(f"{SECTION}.checkpoint: {self.checkpoint}: {reason}") from None

    def pinned(self) -> Self:
        """Return it with the SHA-256 of its weights, and of their path the file name alone.

        One that is trained has its SHA-256 once it is, and no path. Raises what `content` raises, if the
        file has to be hashed.
        """
        sha256 = self.sha256 or (None if self.path is None else self.content())
        name = None if self.is_trained or self.checkpoint is None else PurePath(self.checkpoint).name
        return self.model_copy(update={"sha256": sha256, "checkpoint": name})


class Feedback(Section):
    """Guide sampling by a classifier: at every n-th evaluation towards images of a higher criterion.

    The classifier is shown the clean image that the step predicts.
    """

    criterion: Literal["entropy", "loss"] = Field(
        "entropy",
        description="What becomes higher: the entropy of what the classifier says of an image, or its loss, "
        "the negative logarithm of the probability of the image's class.",
    )
    scale: float = Field(
        ge=0, le=1_000_000, description="How much it counts; 0 switches it off.", examples=[100.0]
    )
    every: int = Field(
        5, ge=1, le=1000, description="Of how many evaluations of the model the last is guided so."
    )
    classifier: FeedbackClassifier = Field(FeedbackClassifier(), description="The classifier that guides.")

    def pinned(self) -> Self:
        """Return it with its classifier pinned. Raises what that raises."""
        return self.model_copy(update={"classifier": self.classifier.pinned()})


def feedback_fault(feedback: Feedback | None, grown: Sequence[Earlier]) -> str:
    """Return why a recipe that was grown cannot have a classifier's guidance; an empty text if it can."""
    if feedback is None or all(item.classes is None for item in grown):
        return ""
    return (
        "feedback: an earlier version has fewer classes, and so another classifier; give the release of all "
        "classes another name"
    )
