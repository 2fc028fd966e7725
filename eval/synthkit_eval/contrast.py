"""A contrast: a comparison that is fixed before the scores are made, as a study's file states it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthkit.config.section import Section


class Contrast(Section):
    """One contrast: a method, or a release's name, against another, in every section that has both."""

    of: str = Field(min_length=1, description="The method, or the name in the table, that may be better.")
    against: str = Field(min_length=1, description="What it is compared with; `real only` for real images.")
    part: Literal["overall", "class_mean", "many", "medium", "few"] = Field(
        "overall", description="Of which accuracy."
    )
