"""A contrast: a comparison that is fixed before the scores are made, as a study's file states it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from synthkit.config.section import Section


class Contrast(Section):
    """One contrast: a method, or a release's name, against another, in every section that has both.

    With `against_by`, what it is compared with was trained by another protocol, on the same real images.
    """

    of: str = Field(min_length=1, description="The method, or the name in the table, that may be better.")
    against: str = Field(min_length=1, description="What it is compared with; `real only` for real images.")
    part: Literal["overall", "class_mean", "many", "medium", "few"] = Field(
        "overall", description="Of which accuracy."
    )
    by: str | None = Field(
        None, min_length=1, description="The name of the protocol that scored it; default: each."
    )
    against_by: str | None = Field(
        None,
        min_length=1,
        description="The name of the protocol that scored what it is compared with; default: the same.",
    )

    @model_validator(mode="after")
    def _say_by_what(self) -> Self:
        if self.against_by is not None and self.by is None:
            raise ValueError("by: is missing; against_by names another protocol than the one it names")
        return self

    def __str__(self) -> str:
        """Return it in words."""
        names = (told_by(self.of, self.by), told_by(self.against, self.against_by))
        return " with ".join(names)


def told_by(name: str, protocol: str | None) -> str:
    """Return a name, and the protocol that scored it if it has to be told."""
    return name if protocol is None else f"{name} by {protocol}"
