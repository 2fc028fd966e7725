"""The `arithmetic` section of a recipe: speed for last bits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from synthkit.config.section import Section

# `compile: blocks`.
BLOCKS: Literal["blocks"] = "blocks"


def _what_is_compiled(value: Any) -> bool | Literal["blocks"]:
    if isinstance(value, bool):
        return value
    if value == BLOCKS:
        return BLOCKS
    raise ValueError(f"must be true, false or {BLOCKS}, is {value!r:.60}")


Compile = Annotated[
    bool | Literal["blocks"],
    PlainValidator(_what_is_compiled),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": BLOCKS}]}),
]


class Arithmetic(Section):
    """How the device computes. Every option changes last bits, so it belongs to the release."""

    channels_last: bool = Field(
        False, description="UNet and VAE in channels-last memory order: on a GPU faster with compile."
    )
    compile: Compile = Field(
        False,
        description="torch.compile of the UNet and the VAE's decoder: a minute or more before the first "
        "image, faster ones after it. blocks compiles the transformer blocks that a UNet or a transformer "
        "repeats, and nothing else: sooner done, for short builds. Needs a C++ compiler on a CPU, Triton on "
        "a GPU.",
    )
    attention: Literal["sdpa", "flash", "cudnn", "efficient", "math"] = Field(
        "sdpa", description="Kernel of the UNet's attention; sdpa is PyTorch's own choice."
    )
    fused_projections: bool = Field(
        False, description="One matrix product for the query, key and value of attention."
    )
    vae_slicing: bool = Field(False, description="Decode one image at a time: less memory.")
    tf32: bool = Field(
        False, description="TensorFloat-32 in float32 models on an NVIDIA GPU: faster, 10 bits of mantissa."
    )


# diffusers' pipeline with all options off.
STOCK = Arithmetic()
