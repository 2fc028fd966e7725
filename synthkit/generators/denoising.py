"""What a recipe changes at single steps of a batch, wrapped around the forward of a pipeline's denoiser.

The pipeline's own call stays as it is. At each step it gives the denoiser both halves of guidance at once, N
unconditional rows before N conditional ones, and takes from what comes back uncond + scale (cond - uncond).

Each wrapper is told of the batch, and hands to the one within it what it makes of the step's arguments. From
outside: the guidance interval, which takes half of the rows away; what arithmetic.py makes of the denoiser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from synthkit.recipe.sampler import Sampler

# The arguments of a denoiser's forward, by their names; and what evaluates it for a step.
Arguments = dict[str, Any]
Evaluate = Callable[[Arguments], Any]


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before its first step.

    `seeds` are those of its N rows; `training_steps` is how many timesteps the model was trained with.
    """

    sampler: Sampler
    seeds: Sequence[int]
    training_steps: int

    def share(self, step: Arguments) -> float:
        """Return the share of the noise schedule at which a step is: 0 is the clean image, 1 noise alone.

        Timesteps are on the CPU (schedulers.py), so the device is not waited for.
        """
        timestep = step["timestep"]
        first = timestep.reshape(-1)[0] if hasattr(timestep, "reshape") else timestep
        return float(first) / self.training_steps


class Denoising:
    """The forward of a denoiser, changed from one batch to the next as recipes say."""

    def __init__(self, denoiser: Any) -> None:
        """Take the place of the forward of a denoiser, which stays so: once, after arithmetic.py."""
        self._forward = denoiser.forward
        # Those of the class: arithmetic.py's forward takes any.
        self._names = [*inspect.signature(type(denoiser).forward).parameters][1:]
        self._evaluate: Evaluate = self._plain
        denoiser.forward = self._step

    def begin(self, batch: Batch) -> None:
        """Set what happens at the steps of the next batch; nothing is left of the one before it."""
        evaluate: Evaluate = self._plain
        if batch.sampler.guidance_interval is not None:
            evaluate = in_interval(evaluate, batch, batch.sampler.guidance_interval)
        self._evaluate = evaluate

    def _plain(self, step: Arguments) -> Any:
        return self._forward(**step)

    def _step(self, *given: Any, **named: Any) -> Any:
        return self._evaluate(dict(zip(self._names, given, strict=False)) | named)


def in_interval(evaluate: Evaluate, batch: Batch, interval: tuple[float, float]) -> Evaluate:
    """Evaluate the conditional rows alone where guidance does not run, and give them back for both halves.

    Guidance leads from there to there, so the pipeline goes on with exactly the conditional rows.
    Source: Kynkäänniemi et al., Applying Guidance in a Limited Interval Improves Sample and Distribution
    Quality in Diffusion Models, arXiv 2404.07724, equation 3.
    """

    def evaluated(step: Arguments) -> Any:
        if runs_in(interval, batch.share(step)):
            return evaluate(step)
        rows = rows_of_half(step, batch, "guidance_interval")
        return tuple(_twice(part) for part in evaluate(_conditional(step, rows)))

    return evaluated


def runs_in(interval: tuple[float, float], share: float) -> bool:
    """Return whether guidance runs at a share of the noise schedule: where from < share <= to.

    An interval from 0 on has the clean image, too; one that ends where it begins has nothing.
    """
    first, last = interval
    return first < share <= last or first == share == 0 < last


def rows_of_half(step: Arguments, batch: Batch, field: str) -> int:
    """Return how many rows each half of guidance has. Raises GeneratorError if the step has no two halves."""
    latents = next(iter(step.values()))
    if len(latents) != 2 * len(batch.seeds):
        raise GeneratorError(
            f"sampler.{field}: this model does not evaluate both halves of guidance at once; remove it"
        )
    return len(batch.seeds)


def _conditional(value: Any, rows: int) -> Any:
    """Return the conditional half of all tensors that have both, at any depth of lists and mappings."""
    if isinstance(value, dict):
        return {name: _conditional(part, rows) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_conditional(part, rows) for part in value)
    if hasattr(value, "ndim") and value.ndim and len(value) == 2 * rows:
        # A copy lies in memory as the tensor of a call without guidance does: kernels look at that.
        return value[rows:].clone()
    return value


def _twice(rows: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([rows, rows])
