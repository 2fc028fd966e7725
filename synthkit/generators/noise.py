"""Noise drawn in float32 whatever the model's type, so that a seed means the same noise in all of them.

Drawn in float16 or bfloat16 on the CPU, as diffusers does, it would be made of the few numbers that these
types have between 0 and 1: tails cut at 3.9 and 3.3 standard deviations (Box-Muller of 11 and 8 bits).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def draw_in_float32(pipeline: Any) -> None:
    """Change a Stable unCLIP pipeline's own drawing; in float32 every bit stays the same.

    A copy of the pipeline needs the same done to it: methods of its own would be the original's.
    """
    methods = type(pipeline)
    noise_embeddings = methods.noise_image_embeddings.__get__(pipeline)
    prepare_latents = methods.prepare_latents.__get__(pipeline)

    def noised(image_embeds: Any, noise_level: int, noise: Any = None, generator: Any = None) -> Any:
        drawn = _normal(image_embeds.shape, generator) if noise is None else noise
        return noise_embeddings(image_embeds, noise_level, drawn.to(image_embeds))

    def prepared(**call: Any) -> Any:
        edges = (call[edge] // pipeline.vae_scale_factor for edge in ("height", "width"))
        shape = (call["batch_size"], call["num_channels_latents"], *edges)
        drawn = _normal(shape, call["generator"]) if call["latents"] is None else call["latents"]
        return prepare_latents(**call | {"latents": drawn.to(call["device"], call["dtype"])})

    pipeline.noise_image_embeddings, pipeline.prepare_latents = noised, prepared


def _normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> torch.Tensor:
    """A standard normal tensor; each row comes from its own generator."""
    import torch

    rows = [torch.randn((1, *shape[1:]), generator=generator) for generator in generators]
    return torch.cat(rows)
