"""The schedulers of a recipe's `sampler.scheduler`, made of a model's own scheduler configuration."""

from __future__ import annotations

import importlib
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthkit.recipe.sampler import Sampler

# Recipe name: diffusers class, and what it is told beyond the model's own scheduler configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    # Of another order its sums would have more than one term, and their last bits depend on the row. A last
    # step that is not of order one divides by the noise that is left, which is none.
    "unipc": ("UniPCMultistepScheduler", {"solver_order": 2, "lower_order_final": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    # Begins with the noise alone, as models do that were distilled to a few steps.
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    # Guesses the clean image at each step and adds noise again: what latent consistency models are made for.
    "lcm": ("LCMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    # Its random variant draws for a whole batch at once, from no seed.
    "flow-euler": ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": False}),
}
# Those that any model can use that predicts the noise, each time the same, whatever its pipeline is.
DETERMINISTIC = ("pndm", "ddim", "dpm-solver++", "unipc", "euler", "euler-trailing")
# Of models that predict the way from noise to data: time is a number from 0 to 1, so no step is too many.
_FLOW = frozenset({"flow-euler"})
# They draw noise at each step, and are computed in float32 for it; unipc, since it sums its steps up in the
# model's type.
_RANDOM = frozenset({"ddpm", "lcm"})
_IN_FLOAT32 = _RANDOM | {"unipc"}
# They divide by the difference in noise of two steps.
_SOLVERS = frozenset({"dpm-solver++", "unipc"})
# What a class does by default to pixels, which lie between -1 and 1, and must not do to latents, which reach
# farther. It is switched off, unless the model's configuration (which may be for another class) asks for it.
_UNLESS_CONFIGURED: dict[str, dict[str, Any]] = {
    "ddim": {"clip_sample": False},
    "ddpm": {"clip_sample": False},
}
# What a model's configuration says of the variance that its network predicts beside the noise. Only the
# class that draws by it may be told: to another, diffusers' pipelines would give both as the noise.
_VARIANCE = "variance_type"
_BY_VARIANCE = frozenset({"ddpm"})
# Runge-Kutta steps, with which a PNDM may begin, are laid out from the first of all steps on.
_LATE: dict[str, dict[str, Any]] = {"pndm": {"skip_prk_steps": True}}
# The noise that a model was trained with. Where its file leaves it to the class, another class (lcm) would
# take another.
_NOISE = ("beta_start", "beta_end", "beta_schedule")


def make_scheduler(own: Any, sampler: Sampler, *, late: bool = False) -> Any:
    """Return a recipe's scheduler for the model whose own scheduler is `own`, its steps set.

    `late` is for images that begin at a later step than the first.
    Raises GeneratorError for more steps than the model was trained with, or fewer than the scheduler needs.
    """
    name = sampler.scheduler
    class_name, options = SCHEDULERS[name]
    scheduler_class = getattr(importlib.import_module("diffusers"), class_name)
    config = {key: value for key, value in own.config.items() if name in _BY_VARIANCE or key != _VARIANCE}
    unset = _UNLESS_CONFIGURED.get(name, {}).items()
    options = {**options, **{key: value for key, value in unset if key not in config}}
    options |= {key: config[key] for key in _NOISE if key in config}
    options |= _LATE.get(name, {}) if late else {}
    scheduler = scheduler_class.from_config(config, **options)
    scheduler.set_timesteps = _on_cpu(scheduler.set_timesteps)
    if name in _IN_FLOAT32:
        scheduler.step = _in_float32(scheduler.step)
    if name not in _FLOW:
        _check_steps(scheduler, sampler)
    return scheduler


def _check_steps(scheduler: Any, sampler: Sampler) -> None:
    # Those that it was distilled from, of which it takes a part.
    most = scheduler.config.original_inference_steps if sampler.scheduler == "lcm" else sampler.steps
    if sampler.steps > most:
        raise GeneratorError(
            f"sampler.steps: {sampler.steps} are more than this model's {sampler.scheduler} scheduler has; "
            f"use at most {most}; 2 to 8 are usual"
        )
    try:
        scheduler.set_timesteps(sampler.steps)
    except ValueError:
        raise GeneratorError(
            f"sampler.steps: {sampler.steps} are too few for this model's {sampler.scheduler} scheduler; "
            "use more"
        ) from None
    last = scheduler.config.num_train_timesteps - 1
    stands_still = sampler.scheduler in _SOLVERS and _repeats_a_noise(scheduler.sigmas)
    if float(max(scheduler.timesteps)) > last or stands_still:
        raise GeneratorError(
            f"sampler.steps: {sampler.steps} are more than this model's {sampler.scheduler} scheduler has; "
            f"use fewer than {last}"
        )


def _repeats_a_noise(sigmas: Any) -> bool:
    """Return whether two steps have the same noise; the last step may keep what the one before it left."""
    return bool((sigmas[:-2] <= sigmas[1:-1]).any())


def _on_cpu(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """Keep timesteps on the CPU, whatever device the pipeline asks for.

    Schedulers compare them, and on a GPU each comparison would wait for it.
    """

    @wraps(set_timesteps)
    def set_on_cpu(*given: Any, **named: Any) -> None:
        set_timesteps(*given, **named | {"device": None})

    return set_on_cpu


def _in_float32(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compute a step in float32, and draw its noise so, whatever the model's type; noise.py says why."""
    known = inspect.signature(step).parameters

    @wraps(step)
    def stepped(model_output: Any, timestep: Any, sample: Any, **named: Any) -> Any:
        # Kandinsky's pipeline gives random generators to schedulers that do not draw, too.
        taken = {name: value for name, value in named.items() if name in known} | {"return_dict": False}
        found = step(model_output.float(), timestep, sample.float(), **taken)
        return (found[0].to(sample.dtype), *found[1:])

    return stepped
