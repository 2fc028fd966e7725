"""Noise drawn in float32 whatever the model's type, so that a seed means the same noise in all of them.

diffusers draws in the model's type. On the CPU, float16 and bfloat16 have 11 and 8 bits between 0 and 1, from
which the Box-Muller transform makes normal numbers whose tails end at 3.9 and 3.3 standard deviations.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch


def draw_latents_in_float32(pipeline: Any, begun: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace `prepare_latents` of one pipeline object; float32 pipelines draw the same bits as before.

    `begun` makes what the first step is given of the noise.
    A copy of the pipeline needs the same done to it: the copied method would still be the original's.
    """
    prepare = type(pipeline).prepare_latents.__get__(pipeline)
    signature = inspect.signature(prepare)

    def prepared(*given: Any, **named: Any) -> Any:
        call = signature.bind(*given, **named).arguments
        latents = call.get("latents")
        if latents is None:
            edges = (call[edge] // pipeline.vae_scale_factor for edge in ("height", "width"))
            shape = (call["batch_size"], call["num_channels_latents"], *edges)
            latents = begun(normal(shape, call["generator"]))
        return prepare(**call | {"latents": latents.to(call["device"], call["dtype"])})

    pipeline.prepare_latents = prepared


def normal(shape: Sequence[int], generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Return a float32 standard normal tensor on the CPU, each of its rows from its own generator."""
    import torch

    rows = [torch.randn((1, *shape[1:]), generator=generator) for generator in generators]
    return torch.cat(rows)
