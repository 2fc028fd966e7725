"""One evaluation of a denoiser, at one step of a batch: what the modules that change it share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.recipe.sampler import Sampler

# The arguments of a denoiser's forward, by their names; and what evaluates it with them.
Arguments = dict[str, Any]
Evaluate = Callable[[Arguments], Any]


@dataclass(frozen=True)
class Batch:
    """What is known of a batch before its first step.

    `seeds` are those of its N rows; `training_steps` is how many timesteps the model was trained with.
    `conditioning` names the arguments that say what to make, and of each the numbers in its last dimension
    that do; a dot leads into an argument that is a mapping. It is empty where nothing changes them.
    """

    sampler: Sampler
    seeds: Sequence[int]
    training_steps: int
    conditioning: Mapping[str, slice]

    def share(self, step: Arguments) -> float:
        """Return the share of the noise schedule at which a step is: 0 is the clean image, 1 noise alone.

        Timesteps are on the CPU (schedulers.py), so the device is not waited for.
        """
        return self.timestep(step) / self.training_steps

    def timestep(self, step: Arguments) -> float:
        """Return the timestep at which a step is, as its model was trained with: 0 is the clean image."""
        timestep = step["timestep"]
        first = timestep.reshape(-1)[0] if hasattr(timestep, "reshape") else timestep
        return float(first)


def rows_of_half(step: Arguments, batch: Batch, field: str) -> int:
    """Return how many rows each half of guidance has; the conditional half is the second one.

    Raises GeneratorError, with the name of the field of `sampler`, if the step has no two halves.
    """
    latents = next(iter(step.values()))
    if len(latents) != 2 * len(batch.seeds):
        raise GeneratorError(
            f"sampler.{field}: this model does not evaluate both halves of guidance at once; remove it"
        )
    return len(batch.seeds)
