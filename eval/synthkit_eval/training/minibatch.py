"""A minibatch as a network is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn import functional as F  # noqa: TID253 (nothing imports this module but training)

if TYPE_CHECKING:
    from torch import Tensor


class Minibatch(NamedTuple):
    """Network inputs (N, 3, H, W), labels (N,), a factor of each image's loss (N,), and a seed.

    `weights` is None where all are 1.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor | None
    seed: int


def weighted_classes(labels: Tensor, weights: Tensor | None, classes: int) -> Tensor:
    """Return the weight of each class in N images, (N, C) float32: that of the image for its own class."""
    own = F.one_hot(labels, classes).float()
    return own if weights is None else own * weights[:, None]
