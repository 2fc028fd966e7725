"""What diffusers pipelines say when something goes wrong: advice for a recipe, and no logs of libraries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from synthkit.recipe.sampler import Sampler

# Types whose range or precision exceeds that of a narrow model.dtype.
_WIDER = {"float16": "bfloat16 or float32", "bfloat16": "float32"}


def to_get_numbers(dtype: torch.dtype, how: Sampler) -> str:
    """Advise on what the recipe has not set already, of a model that makes values that are not numbers."""
    wider = _WIDER.get(str(dtype).removeprefix("torch."))
    if wider:
        return f"model.dtype may be too narrow for it: use {wider}"
    return (
        "in float32, so its files are damaged, or it does not bear "
        f"sampler.scheduler={how.scheduler}, sampler.steps={how.steps}, "
        f"sampler.guidance_scale={how.guidance_scale:g}: try others, or another copy of the model"
    )


def to_need_less(batch_size: int, *, can_slice: bool, can_narrow: bool) -> str:
    """Advise on what the recipe has not set already, of batches that the device cannot hold."""
    ways = ["lower sampler.batch_size"] if batch_size > 1 else []
    if can_slice:
        ways.append("set arithmetic.vae_slicing")
    if can_narrow:
        ways.append("set model.dtype to bfloat16 or float16")
    return " or ".join(ways) or "use a device with more, or a smaller model"


def silence_libraries() -> None:
    """Switch the libraries' progress bars and logs off: what matters is in the error that is raised."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
