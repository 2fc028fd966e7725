"""The section `curriculum` of a protocol: which levels of synthetic images train in which epochs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthkit.config.section import Section


class Curriculum(Section):
    """Synthetic images of one level after another, then real ones alone (Liang et al. 2025).

    Defaults are those of that work for ImageNet-LT: the schedule, and 5 last epochs of 65.
    """

    over: Literal["strength", "scale"] = Field(
        "strength",
        description="What the levels are, as records say: strengths at which real images were noised, or "
        "their weights against the text.",
    )
    order: Literal["diverse-to-specific", "specific-to-diverse"] = Field(
        "diverse-to-specific",
        description="diverse-to-specific: from the level at which images are least like their real ones (the "
        "highest strength, the lowest scale) to the one at which they are most; or the other way around.",
    )
    real_epochs: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="How many of the last epochs have real images alone; default: one in 13, rounded up.",
    )

    def last_epochs(self, epochs: int) -> int:
        """Return how many of a run's epochs have real images alone."""
        return -(-epochs // 13) if self.real_epochs is None else self.real_epochs
