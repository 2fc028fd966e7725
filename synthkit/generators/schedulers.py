"""The schedulers of a recipe's `sampler.scheduler`, made of a model's own scheduler configuration."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from synthkit.recipe.schema import Sampler

# Recipe name: diffusers class, and what it is told beyond the model's own scheduler configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
}
# What a class does by default to pixels, which lie between -1 and 1, and must not do to latents, which reach
# farther. It is switched off, unless the model's configuration (which may be for another class) asks for it.
_UNLESS_CONFIGURED: dict[str, dict[str, Any]] = {"ddim": {"clip_sample": False}}


def make_scheduler(current: Any, sampler: Sampler) -> Any:
    """Return a recipe's scheduler for the model whose own scheduler is `current`, its steps set.

    Raises GeneratorError for more steps than the model was trained with.
    """
    class_name, options = SCHEDULERS[sampler.scheduler]
    scheduler_class = getattr(importlib.import_module("diffusers"), class_name)
    unset = _UNLESS_CONFIGURED.get(sampler.scheduler, {}).items()
    options = {**options, **{name: value for name, value in unset if name not in current.config}}
    scheduler = scheduler_class.from_config(current.config, **options)
    set_timesteps = scheduler.set_timesteps
    # Timesteps stay on the CPU, whatever device the pipeline asks for: schedulers compare them, and on a GPU
    # each comparison would wait for it.
    scheduler.set_timesteps = lambda steps, device=None: set_timesteps(steps)
    scheduler.set_timesteps(sampler.steps)
    last = scheduler.config.num_train_timesteps - 1
    if float(max(scheduler.timesteps)) > last:
        raise GeneratorError(
            f"sampler.steps: {sampler.steps} are more than this model's {sampler.scheduler} scheduler has; "
            f"use fewer than {last}"
        )
    return scheduler
