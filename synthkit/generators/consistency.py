"""Latent consistency models: which models the scheduler `lcm` is for.

Source: Luo et al., Latent Consistency Models: Synthesizing High-Resolution Images with Few-Step Inference,
arXiv 2310.04378.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from synthkit.recipe.model_content import UNET

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.generators.checkpoint import Checkpoint

# The paper measures 1 to 8.
MOST_CONSISTENT_STEPS = 8


def may_be_consistent(checkpoint: Checkpoint) -> bool:
    """Return whether a model may have been distilled to latent consistency, by its configuration files.

    Such a model names the scheduler as its own, or its UNet reads the scale of guidance. Of weights that take
    the place of the base's UNet, no file says what they were distilled to.
    """
    if f"model.{UNET}" in checkpoint.pieces:
        return True
    scheduler = _stated(checkpoint.files.get("scheduler/scheduler_config.json"))
    reads_scale = _stated(checkpoint.files.get(f"{UNET}/config.json")).get("time_cond_proj_dim")
    return scheduler.get("_class_name") == "LCMScheduler" or reads_scale is not None


def _stated(path: Path | None) -> dict[str, Any]:
    """Return a configuration; an empty one if it is missing or damaged, which loading the model tells."""
    try:
        found = json.loads(path.read_bytes()) if path is not None else None
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
