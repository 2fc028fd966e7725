"""What the three training stages share: the learning-rate schedule and the progress lines."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim.lr_scheduler import LambdaLR

WARM_UP = 100  # steps


def optimizer_and_schedule(
    parameters: Iterable[nn.Parameter], peak_rate: float, steps: int, weight_decay: float = 0.01
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW with a short linear warm-up and a cosine to zero."""
    optimizer = torch.optim.AdamW(parameters, lr=peak_rate, betas=(0.9, 0.99), weight_decay=weight_decay)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def descend(
    loss: Tensor, optimizer: torch.optim.AdamW, schedule: LambdaLR, parameters: Iterable[nn.Parameter]
) -> None:
    """One step down a loss, with the gradient clipped to norm 1."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    schedule.step()


class Progress:
    """A plain line every so many steps: stage, step, time so far, smoothed losses."""

    def __init__(self, stage: str, steps: int, lines: int = 12) -> None:
        self._stage, self._steps, self._every = stage, steps, max(1, steps // lines)
        self._start = time.perf_counter()
        self._mean: dict[str, float] = {}

    def report(self, step: int, **losses: Tensor) -> None:
        """Take the losses of a step (counted from 0) and prints now and then."""
        for name, value in losses.items():
            now = float(value.detach())
            self._mean[name] = 0.98 * self._mean.get(name, now) + 0.02 * now
        if (step + 1) % self._every == 0 or step + 1 == self._steps:
            shown = "  ".join(f"{name} {value:.4f}" for name, value in self._mean.items())
            seconds = time.perf_counter() - self._start
            print(f"{self._stage} {step + 1}/{self._steps}  {seconds:.0f} s  {shown}", flush=True)
