"""The `output` section of a recipe: how images are written, and what holds them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from synthkit.config.section import Section
from synthkit.recipe.credentials import Credentials

# The longest edge of an image in pixels: the most that a recipe may ask for and that readers make room for.
MAX_EDGE = 4096
ContainerName = Literal["tar", "parquet"]


class Output(Section):
    """How the images are written."""

    format: Literal["png", "jpeg", "webp"] = Field("png", description="Format of the image files.")
    quality: int | None = Field(
        None, ge=1, le=100, description="Quality of jpeg and webp (default 95); png is lossless."
    )
    size: int | None = Field(
        None, ge=8, le=MAX_EDGE, description="Edge of the written image in pixels; default: as generated."
    )
    shard_size: int = Field(
        1024, ge=1, le=100_000, description="Images per shard; a multiple of batch_size wastes nothing."
    )
    c2pa: Credentials | None = Field(
        None, description="Sign each image by a C2PA manifest; docs/provenance.md."
    )

    container: ContainerName = Field(
        "tar", description="What a shard is: a tar (WebDataset), or a Parquet file with a row per image."
    )

    @model_validator(mode="after")
    def _quality_where_it_means_something(self) -> Self:
        if self.format == "png" and self.quality is not None:
            raise ValueError("png is lossless and has no quality: remove quality, or choose jpeg or webp")
        return self

    @property
    def extension(self) -> str:
        """The file extension of the images: jpg, png or webp."""
        return "jpg" if self.format == "jpeg" else self.format

    def pinned(self) -> Self:
        """Return this section with the certificate of `c2pa` by its fingerprints, and no path.

        Raises SignatureError if the certificate is needed for that and cannot be read.
        """
        return self if self.c2pa is None else self.model_copy(update={"c2pa": self.c2pa.pinned()})
