"""The logit-adjusted softmax cross-entropy (Menon et al. 2021)."""

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
class LogitAdjustedLoss:
    """The cross-entropy of logits + τ log π; π (C,) is the frequency of each class among the real images.

    Source: Menon et al. 2021, Long-Tail Learning via Logit Adjustment (arXiv 2007.07314), eq. 10. With
    τ = 1 it is Balanced Softmax: log n and log π differ by a constant, which no softmax sees.
    """

    adjustment: Tensor

    @classmethod
    def of(cls, protocol: Protocol, real: Sequence[int], device: str) -> Loss:
        """Make it for the frequencies of the real images."""
        counts = counts_of(real, device)
        return cls(protocol.logit_adjusted.tau * (counts / counts.sum()).log())

    def __call__(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the loss of each image, (N,), from logits (N, C) and targets (N,) or (N, C)."""
        return F.cross_entropy(logits + self.adjustment, targets, reduction="none")
