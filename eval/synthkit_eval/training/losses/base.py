"""What a loss does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch  # noqa: TID253 (nothing imports this module but training)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from synthkit_eval.protocol import Protocol as Settings


class Loss(Protocol):
    """A loss of logits (N, C) against the classes of N images."""

    def __call__(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the loss of each image, (N,).

        `targets` are labels (N,) int64, or the weight of each class (N, C) float32, in which the loss is
        linear. `progress` is the share of the epochs that are behind, from 0 to below 1.
        """
        ...


class LossKind(Protocol):
    """A class of losses that are made for a protocol and its real images."""

    @classmethod
    def of(cls, protocol: Settings, real: Sequence[int], device: str) -> Loss:
        """Make it; `real` is the number of real training images of each class."""
        ...


def counts_of(real: Sequence[int], device: str) -> Tensor:
    """Return the number of real training images of each class, (C,) float32."""
    return torch.tensor(real, dtype=torch.float32, device=device)
