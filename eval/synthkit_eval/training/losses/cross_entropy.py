"""Cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn import functional as F  # noqa: TID253 (nothing imports this module but training)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.losses.base import Loss


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """The cross-entropy of the softmax of the logits."""

    @classmethod
    def of(cls, protocol: Protocol, real: Sequence[int], device: str) -> Loss:
        """Make it; it has no settings."""
        return cls()

    def __call__(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the loss of each image, (N,), from logits (N, C) and targets (N,) or (N, C)."""
        return F.cross_entropy(logits, targets, reduction="none")
