"""The losses of training, by the names that a protocol gives them: one module and one row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit_eval.training.losses.balanced_softmax import BalancedSoftmax
from synthkit_eval.training.losses.cross_entropy import CrossEntropy
from synthkit_eval.training.losses.ldam_drw import LdamDrwLoss
from synthkit_eval.training.losses.logit_adjusted import LogitAdjustedLoss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.protocol import Protocol
    from synthkit_eval.training.losses.base import Loss, LossKind

LOSSES: dict[str, LossKind] = {
    "cross-entropy": CrossEntropy,
    "balanced-softmax": BalancedSoftmax,
    "logit-adjusted": LogitAdjustedLoss,
    "ldam-drw": LdamDrwLoss,
}


def make_loss(protocol: Protocol, real: Sequence[int], device: str) -> Loss:
    """Return the loss of a protocol; `real` is the number of real training images of each class.

    Raises ScoreError if it is 0 of a class and the loss goes by these numbers.
    """
    kind = LOSSES[protocol.loss]
    if kind is not CrossEntropy and min(real) < 1:
        raise ScoreError(
            f"loss: {protocol.loss} needs real images of every class; class {list(real).index(min(real))} "
            "has none: use --set loss=cross-entropy"
        )
    return kind.of(protocol, real, device)
