"""The `model` section of a recipe: the image generator, where it is had, and which one it must be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from synthkit.config.section import Section

# A model's licence: the Hub's names of licences, and the names that authors give their own.
LICENSE = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,95}$"

Mirror = Annotated[str, Field(min_length=1, max_length=1024)]


class Model(Section):
    """The frozen image generator."""

    id: str = Field(
        min_length=1,
        max_length=1024,
        description="A built-in model (builtin:tiny-unclip-digits), a local folder, or a Hub repository.",
    )
    revision: str | None = Field(
        None,
        pattern=r"^[0-9A-Za-z_./-]{1,100}$",
        description="The commit of a Hub repository; a branch moves. Of a folder or a built-in model: its "
        "content hash, as sha256.",
    )
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="The SHA-256 over the model's files, which must be the one here: any copy of them will "
        "do. `synthkit doctor` prints it.",
    )
    mirrors: list[Mirror] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="Other places of the same files, tried in this order after id: Hub repositories "
        "(organisation/name, or organisation/name@revision) and folders. They need sha256.",
        examples=[["organisation/copy-of-the-model"]],
    )
    license: str | None = Field(
        None,
        pattern=LICENSE,
        description="Licence of the model, as the Hub spells it: openrail++, apache-2.0 … By default the one "
        "that its card states; with sha256 it must be given to be stated.",
        examples=["openrail++"],
    )
    dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Arithmetic of the model; float16 needs a GPU."
    )

    @field_validator("mirrors")
    @classmethod
    def _mirrors_are_taken_by_content(
        cls, mirrors: list[str] | None, info: ValidationInfo
    ) -> list[str] | None:
        if mirrors is not None and info.data.get("sha256", "") is None:
            raise ValueError(
                "need model.sha256, since a mirror is taken only for a copy of the same files: "
                "`synthkit doctor` prints it where the model is"
            )
        return mirrors
