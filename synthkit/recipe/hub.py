"""The section `hub` of a recipe: where its release is published."""

from __future__ import annotations

from pydantic import Field

from synthkit.config.section import Section


class Hub(Section):
    """The Hub repository that the release is meant for."""

    repo_id: str | None = Field(
        None,
        pattern=r"^[0-9A-Za-z_.-]{1,96}/[0-9A-Za-z_.-]{1,96}$",
        description="The dataset repository: organisation/name.",
    )
    private: bool = Field(True, description="Create the repository as private.")
    page: bool | None = Field(
        None,
        description="Publish a page to look at, too, in a static Space called organisation/name-page, which "
        "the card links.",
    )
