"""The `sampler` section of a recipe: scheduler, steps, guidance, size, batch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from synthkit.config.section import Section

# Stands for `batch_size: auto` until the batch size is measured. No batch has this size.
AUTO = 0


def _auto_or_size(value: Any, size: ValidatorFunctionWrapHandler) -> int:
    if value == "auto":
        return AUTO
    if isinstance(value, str):
        raise ValueError(f"must be a whole number or auto, is {value[:60]!r}")
    return int(size(value))


BatchSize = Annotated[
    int,
    Field(ge=1, le=1024),
    WrapValidator(_auto_or_size),
    PlainSerializer(lambda size: "auto" if size == AUTO else size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"const": "auto"}]}),
]


class Sampler(Section):
    """How the model is sampled."""

    scheduler: Literal["pndm", "ddim", "dpm-solver++", "euler", "euler-trailing", "ddpm", "flow-euler"] = (
        Field(
            "pndm",
            description="The diffusion scheduler; the paper's is pndm. euler-trailing is for models "
            "that were distilled to a few steps. Kandinsky's own is ddpm, FLUX's is flow-euler.",
        )
    )
    steps: int = Field(30, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float = Field(
        10.0, ge=1, le=50, description="Classifier-free guidance scale; 1 switches guidance off."
    )
    noise_level: int = Field(0, ge=0, le=999, description="Noise added to the image embedding; the paper: 0.")
    size: int | None = Field(
        None,
        ge=8,
        le=4096,
        multiple_of=8,
        description="Edge in pixels of the images that the model makes; by default that which it was trained "
        "for. output.size scales them afterwards.",
        examples=[512],
    )
    batch_size: BatchSize = Field(
        16,
        description="Images per batch. Fixed, since the last bits of an image depend on the batch's shape; "
        "auto measures what the device holds, once, and the release states the number.",
    )
