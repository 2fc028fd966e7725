"""The `filters` section of a recipe: which draws are rejected and drawn again, which of several is kept."""

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

    def content(self, where: str) -> str:
        """Return the SHA-256 of the weights.

        Raises RecipeError if the file cannot be read; `where` is the dotted name of this section.
        """
        try:
            return sha256_of(self.path)
        except OSError as error:
            reason = error.strerror or "cannot be read"
            raise RecipeError(f"{where}.checkpoint: {self.checkpoint}: {reason}") from None

    def pinned(self, where: str) -> Self:
        """Return this section with the SHA-256 in it, and of the path the file name alone.

        Raises what `content` raises, if the weights have to be hashed.
        """
        sha256 = self.sha256 or self.content(where)
        return self.model_copy(update={"sha256": sha256, "checkpoint": PurePath(self.checkpoint).name})


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


class Prefer(Section):
    """Draws each image several times, and keeps the draw that a classifier finds right but least sure.

    Right: the class is the classifier's first choice. Least sure: of these, the class has the lowest
    probability. If no draw is right, the one whose class has the highest probability is kept. The classifier
    is the nearest class mean of f(x) over the real images, or a network trained on them.
    """

    draws: int = Field(
        ge=2,
        le=MAX_DRAWS,
        description="Draws of each image, of which one is kept; the build costs as many times more.",
    )
    classifier: ClassifierConfig | None = Field(
        None, description="Ask this classifier instead of the class means of the model's embeddings."
    )


class Filters(Section):
    """Quality gates; a rejected image is drawn again from the next attempt of its seed."""

    max_draws: int = Field(
        4,
        ge=2,
        le=MAX_DRAWS,
        description="Draws of an image at most; the last one is kept whatever it is. With prefer, at least "
        "its draws.",
    )
    blank: Blank | None = Field(None, description="Reject images without content.")
    near_copy: NearCopy | None = Field(None, description="Reject images that are nearly a real one.")
    label_agreement: LabelAgreement | None = Field(
        None, description="Reject images that look like another class."
    )
    near_duplicate: NearDuplicate | None = Field(
        None, description="Reject images that nearly repeat an earlier image of their class."
    )

    prefer: Prefer | None = Field(
        None, description="Draw each image several times, and keep what a classifier is least sure of."
    )

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        if not (self.gates or self.prefer):
            raise ValueError("name a filter: blank, near_copy, label_agreement, near_duplicate or prefer")
        return self

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.prefer and self.near_duplicate:
            raise ValueError(
                "prefer cannot be given together with near_duplicate: which draws repeat another image is "
                "known only once all images before it have chosen theirs; remove one of them"
            )
        return self

    @property
    def gates(self) -> bool:
        """Whether there is a gate, which can reject a draw."""
        return bool(self.blank or self.near_copy or self.label_agreement or self.near_duplicate)

    @property
    def draws(self) -> int:
        """How many draws are made of every image."""
        return self.prefer.draws if self.prefer else 1

    @property
    def most_draws(self) -> int:
        """How many draws are made of an image at most: more than `draws` if gates reject all of those."""
        return max(self.draws, self.max_draws) if self.gates else self.draws

    @property
    def compare(self) -> bool:
        """Whether a filter compares images with real ones, by their embeddings."""
        asking = (self.label_agreement, self.prefer)
        return self.near_copy is not None or any(gate and gate.classifier is None for gate in asking)

    @property
    def classifiers(self) -> dict[str, ClassifierConfig]:
        """The classifiers that are files, each under the name of the filter that asks it."""
        asking = {"label_agreement": self.label_agreement, "prefer": self.prefer}
        return {name: gate.classifier for name, gate in asking.items() if gate and gate.classifier}

    def pinned(self) -> Self:
        """Return these filters with their classifiers' SHA-256, and of each path the file name alone.

        Raises RecipeError if weights have to be hashed and are not here.
        """
        gates = {}
        for name, classifier in self.classifiers.items():
            pinned = classifier.pinned(f"filters.{name}.classifier")
            gates[name] = getattr(self, name).model_copy(update={"classifier": pinned})
        return self.model_copy(update=gates)
