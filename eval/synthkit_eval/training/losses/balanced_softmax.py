"""Balanced Softmax (Ren et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional as F  # noqa: TID253 (nothing imports this module but training)

from synthkit_eval.training.losses.base import counts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.losses.base import Loss


@dataclass(frozen=True, slots=True)
class BalancedSoftmax:
    """The cross-entropy of logits + log n; n (C,) counts each class's real training images.

    Source: Ren et al. 2020, Balanced Meta-Softmax for Long-Tailed Visual Recognition, eq. 4.
    """

    counts: Tensor

    @classmethod
    def of(cls, protocol: Protocol, real: Sequence[int], device: str) -> Loss:
        """Make it for the numbers of real images."""
        return cls(counts_of(real, device))

    def __call__(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the loss of each image, (N,), from logits (N, C) and targets (N,) or (N, C)."""
        return F.cross_entropy(logits + self.counts.log(), targets, reduction="none")
