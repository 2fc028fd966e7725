"""The `arithmetic` section of a recipe: speed for last bits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from synthkit.config.section import Section


class Arithmetic(Section):
    """How the device computes. Every option changes last bits, so it belongs to the release."""

    channels_last: bool = Field(
        False, description="UNet and VAE in channels-last memory order: on a GPU faster with compile."
    )
    compile: bool = Field(
        False,
        description="torch.compile of the UNet and the VAE's decoder: a minute or more before the first "
        "image, faster ones after it. Needs a C++ compiler on a CPU, Triton on a GPU.",
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
