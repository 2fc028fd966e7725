"""The section `images` of a protocol: what the network sees."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from synthkit.config.section import Section


class ColorJitter(Section):
    """Random changes of colour: factors between 1 - x and 1 + x."""

    brightness: float = Field(0.0, ge=0, le=1, description="Brightness.")
    contrast: float = Field(0.0, ge=0, le=1, description="Contrast.")
    saturation: float = Field(0.0, ge=0, le=1, description="Saturation.")


class Images(Section):
    """What the network sees."""

    size: int = Field(ge=8, le=1024, description="Edge of the network's input in pixels.")
    crop: Literal["random-resized", "padded", "none"] = Field(
        "none",
        description="Training: random-resized (Szegedy 2015), padded (shifted by up to `padding`), or none.",
    )
    scale: tuple[float, float] = Field(
        (0.08, 1.0), description="Share of the image's area in a random-resized crop.", strict=False
    )
    padding: int = Field(4, ge=0, le=64, description="Pixels by which a padded crop is shifted at most.")
    flip: bool = Field(False, description="Training: mirror with probability 1/2.")
    rotation: float = Field(0.0, ge=0, le=180, description="Training: turn by up to so many degrees.")
    color_jitter: ColorJitter = Field(ColorJitter(), description="Training: random changes of colour.")
    evaluation_resize: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="Testing: the shorter edge before the centre crop of `size`; default: the whole image "
        "resized to `size`.",
    )
    mean: tuple[float, float, float] = Field((0.485, 0.456, 0.406), description="Mean of RGB.", strict=False)
    std: tuple[float, float, float] = Field(
        (0.229, 0.224, 0.225), description="Standard deviation of RGB.", strict=False
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError("scale: must be two shares of the area, as [0.08, 1.0]")
        if min(self.std) <= 0:
            raise ValueError("std: must be more than 0")
        if self.evaluation_resize is not None and self.evaluation_resize < self.size:
            raise ValueError(f"evaluation_resize: must be at least size, {self.size}")
        return self
