"""What training makes small: the loss of a minibatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from synthkit_eval.sections.augment import MIXING
from synthkit_eval.training.glmc import GlmcLoss
from synthkit_eval.training.losses import make_loss
from synthkit_eval.training.minibatch import weighted_classes
from synthkit_eval.training.timm_augmentation import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from synthkit_eval.protocol import Protocol as Settings
    from synthkit_eval.training.losses.base import Loss
    from synthkit_eval.training.minibatch import Minibatch


class Objective(Protocol):
    """The loss of a minibatch, from what the network makes of inputs."""

    def __call__(self, forward: Callable[[Tensor], Any], batch: Minibatch, progress: float) -> Tensor:
        """Return the loss, a scalar; `progress` is the share of the epochs that are behind."""
        ...


@dataclass(frozen=True, slots=True)
class MeanLoss:
    """The mean over the minibatch of each image's loss times its weight."""

    loss: Loss

    def __call__(self, forward: Callable[[Tensor], Any], batch: Minibatch, progress: float) -> Tensor:
        """Return the loss, a scalar."""
        values = self.loss(forward(batch.inputs).float(), batch.labels, progress)
        return (values if batch.weights is None else values * batch.weights).mean()


@dataclass(frozen=True, slots=True)
class MixedLoss:
    """The mean loss of a minibatch whose images are mixed, each against the classes that are in it.

    A synthetic image's weight goes with its share.
    """

    loss: Loss
    mixture: Mixture
    classes: int

    def __call__(self, forward: Callable[[Tensor], Any], batch: Minibatch, progress: float) -> Tensor:
        """Return the loss, a scalar."""
        targets = weighted_classes(batch.labels, batch.weights, self.classes)
        inputs, targets = self.mixture(batch.inputs, targets, batch.seed)
        return self.loss(forward(inputs).float(), targets, progress).mean()


def make_objective(protocol: Settings, real: Sequence[int], device: str) -> Objective:
    """Return what a protocol trains for; `real` is the number of real training images of each class.

    Raises ScoreError if these numbers do not suffice.
    """
    loss = make_loss(protocol, real, device)
    if protocol.glmc is not None:
        return GlmcLoss.of(loss, protocol.glmc, real, device)
    if protocol.augment in MIXING:
        return MixedLoss(loss, Mixture(protocol, len(real)), len(real))
    return MeanLoss(loss)
