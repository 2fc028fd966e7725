"""`sampler.cads`: condition-annealed sampling. The conditioning begins as noise and becomes itself.

Source: Sadat et al., CADS: Unleashing the Diversity of Diffusion Models through Condition-Annealed Sampling,
arXiv 2310.17347, Algorithms 1 and 2.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

from synthkit.generators.evaluation import rows_of_half
from synthkit.generators.noise import normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from synthkit.generators.evaluation import Arguments, Batch, Evaluate
    from synthkit.recipe.sampler import Cads

# Joined to an image's seed by exclusive or, so that this noise is not that of its latents. Below 2**32: of a
# seed, PyTorch's generators on the CPU take the lower 32 bits.
NOISE = 0xCAD5CAD5


def with_annealing(evaluate: Evaluate, batch: Batch, cads: Cads) -> Evaluate:
    """Anneal the conditioning of the conditional rows at each step; the unconditional ones stay.

    Each row draws from a generator of its own, so an image does not depend on its neighbours.
    """
    import torch

    generators = [torch.Generator("cpu").manual_seed(seed ^ NOISE) for seed in batch.seeds]

    def evaluated(step: Arguments) -> Any:
        kept = gamma(cads, batch.share(step))
        if kept == 1:
            return evaluate(step)
        rows = rows_of_half(step, batch, "cads")
        for name, part in batch.conditioning.items():

            def changed(value: torch.Tensor, part: slice = part) -> torch.Tensor:
                found = value.clone()
                condition = value[rows:, ..., part].float()
                noise = _on_device(normal(condition.shape, generators), condition.device)
                found[rows:, ..., part] = annealed(condition, noise, kept, cads).to(value.dtype)
                return found

            step = _changed(step, name.split("."), changed)
        return evaluate(step)

    return evaluated


def gamma(cads: Cads, share: float) -> float:
    """Return how much of the conditioning is kept at a share of the noise schedule, from 0 to 1."""
    return min(1.0, max(0.0, (cads.tau2 - share) / (cads.tau2 - cads.tau1)))


def annealed(condition: torch.Tensor, noise: torch.Tensor, kept: float, cads: Cads) -> torch.Tensor:
    """Return (N, …) float32 conditioning mixed with normal noise, each row by itself.

    `kept` is `gamma` of the step. Means and deviations are those of a row.
    """
    mixed = sqrt(kept) * condition + cads.scale * sqrt(1 - kept) * noise
    (mean, deviation), (own_mean, own_deviation) = _moments(mixed), _moments(condition)
    rescaled = (mixed - mean) / deviation * own_deviation + own_mean
    return cads.psi * rescaled + (1 - cads.psi) * mixed


def _moments(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of each row, in a shape that goes with the rows."""
    dimensions = tuple(range(1, rows.ndim))
    return rows.mean(dimensions, keepdim=True), rows.std(dimensions, keepdim=True)


def _on_device(noise: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on a device, which is not waited for."""
    pinned = noise.pin_memory() if device.type == "cuda" else noise
    return pinned.to(device, non_blocking=True)


def _changed(step: Arguments, path: Sequence[str], change: Callable[[torch.Tensor], Any]) -> Arguments:
    """Return a step's arguments with one of them changed: a tensor, or a list of them."""
    name, *rest = path
    value = step[name]
    if rest:
        return step | {name: _changed(value, rest, change)}
    return step | {name: [change(part) for part in value] if isinstance(value, list) else change(value)}
