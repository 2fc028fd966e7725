"""The `filters` section of a recipe: which draws are rejected and drawn again."""

from __future__ import annotations

import os
from pathlib import Path, PurePath
from typing import Literal, Self

from pydantic import Field, model_validator

from synthkit.config.section import Section
from synthkit.errors import RecipeError
from synthkit.system.files import sha256_of

# Draws of one image: the most that a recipe may ask for, and so the most that a record may state.
MAX_DRAWS = 100


class Blank(Section):
    """Rejects images without content: uniform, or blackened by a safety checker."""

    min_deviation: float = Field(
        4.0, gt=0, le=128, description="Least standard deviation of an image's grey levels (0 to 255)."
    )


class NearCopy(Section):
    """Rejects images that are nearly a real one, by cosine similarity of f(x), the model's embeddings."""

    max_similarity: float = Field(0.98, gt=0, lt=1, description="Largest cosine similarity to a real image.")
    among: Literal["sources", "pool"] = Field(
        "sources", description="Compare with the image's own sources, or with every real image of the pool."
    )


class ClassifierConfig(Section):
    """A timm network that was trained on the same classes, in the same order."""

    network: str = Field(min_length=1, description="The network, by timm's name: resnet18 …")
    checkpoint: str = Field(min_length=1, description="Its weights, a safetensors file.")
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="The SHA-256 that the file must have; a release states it.",
    )

    @property
    def path(self) -> Path:
        """The file of weights, `~` as the home folder."""
        return Path(os.path.expanduser(self.checkpoint))  # noqa: PTH111

    def content(self) -> str:
        """Return the SHA-256 of the weights. Raises RecipeError if the file cannot be read."""
        try:
            return sha256_of(self.path)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise RecipeError(
                f"filters.label_agreement.classifier.checkpoint: {self.checkpoint}: {reason}"
            ) from None


class LabelAgreement(Section):
    """Rejects images that look like another class.

    To whom: the nearest class means of f(x) over the real images, or a classifier.
    """

    max_rank: int = Field(
        1, ge=1, description="The class must be among this many nearest; 1: it must be the nearest."
    )
    classifier: ClassifierConfig | None = Field(
        None, description="Ask this classifier instead of the class means of the model's embeddings."
    )
    min_probability: float = Field(
        0.0, ge=0, lt=1, description="Least probability that the classifier gives to the class."
    )

    @model_validator(mode="after")
    def _only_a_classifier_gives_probabilities(self) -> Self:
        if self.min_probability and self.classifier is None:
            raise ValueError("min_probability needs a classifier: name one, or remove it")
        return self


class NearDuplicate(Section):
    """Rejects images that nearly repeat an earlier one of their class, by cosine similarity of f(x)."""

    max_similarity: float = Field(
        0.98, gt=0, lt=1, description="Largest cosine similarity to an earlier image of the class."
    )


class Filters(Section):
    """Quality gates; a rejected image is drawn again from the next attempt of its seed."""

    max_draws: int = Field(
        4, ge=2, le=MAX_DRAWS, description="Draws of an image at most; the last one is kept whatever it is."
    )
    blank: Blank | None = Field(None, description="Reject images without content.")
    near_copy: NearCopy | None = Field(None, description="Reject images that are nearly a real one.")
    label_agreement: LabelAgreement | None = Field(
        None, description="Reject images that look like another class."
    )
    near_duplicate: NearDuplicate | None = Field(
        None, description="Reject images that nearly repeat an earlier image of their class."
    )

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        if not (self.blank or self.near_copy or self.label_agreement or self.near_duplicate):
            raise ValueError("name a filter: blank, near_copy, label_agreement or near_duplicate")
        return self

    @property
    def compare(self) -> bool:
        """Whether a filter compares images with real ones, by their embeddings."""
        by_means = self.label_agreement is not None and self.label_agreement.classifier is None
        return self.near_copy is not None or by_means

    @property
    def classifier(self) -> ClassifierConfig | None:
        """The classifier that judges labels, if one does."""
        return self.label_agreement.classifier if self.label_agreement else None

    def pinned(self) -> Self:
        """Return these filters with the classifier's SHA-256 in them, and of its path the file name alone.

        Raises RecipeError if the weights have to be hashed and are not here.
        """
        if self.label_agreement is None or self.classifier is None:
            return self
        sha256 = self.classifier.sha256 or self.classifier.content()
        named = {"sha256": sha256, "checkpoint": PurePath(self.classifier.checkpoint).name}
        agreement = {"classifier": self.classifier.model_copy(update=named)}
        return self.model_copy(update={"label_agreement": self.label_agreement.model_copy(update=agreement)})
