"""`sampler.guidance_interval`: guidance in a part of the noise schedule.

Source: Kynkäänniemi et al., Applying Guidance in a Limited Interval Improves Sample and Distribution Quality
in Diffusion Models, arXiv 2404.07724.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.generators.evaluation import rows_of_half

if TYPE_CHECKING:
    import torch

    from synthkit.generators.evaluation import Arguments, Batch, Evaluate


def in_interval(evaluate: Evaluate, batch: Batch, interval: tuple[float, float]) -> Evaluate:
    """Evaluate the conditional rows alone where guidance does not run, and give them back for both halves.

    Guidance leads from the first half to the second, here nowhere: the pipeline goes on with exactly the
    conditional rows.
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
