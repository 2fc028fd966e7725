"""The `filters` section of a recipe: which draws are rejected and drawn again."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from synthkit.source_config import Section


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


class LabelAgreement(Section):
    """Rejects images that look like another class: nearest class means of f(x) over the real images."""

    max_rank: int = Field(
        1, ge=1, description="The class must be among this many nearest; 1: it must be the nearest."
    )


class Filters(Section):
    """Quality gates; a rejected image is drawn again from the next attempt of its seed."""

    max_draws: int = Field(
        4, ge=2, le=100, description="Draws of an image at most; the last one is kept whatever it is."
    )
    blank: Blank | None = Field(None, description="Reject images without content.")
    near_copy: NearCopy | None = Field(None, description="Reject images that are nearly a real one.")
    label_agreement: LabelAgreement | None = Field(
        None, description="Reject images that look like another class."
    )

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        if not (self.blank or self.near_copy or self.label_agreement):
            raise ValueError("name a filter: blank, near_copy or label_agreement")
        return self

    @property
    def compare(self) -> bool:
        """Whether a filter looks at embeddings."""
        return self.near_copy is not None or self.label_agreement is not None
