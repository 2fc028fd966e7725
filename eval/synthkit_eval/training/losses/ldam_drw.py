"""Label-distribution-aware margins with deferred re-weighting (Cao et al. 2019)."""

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
class LdamDrwLoss:
    """The cross-entropy of s cos, where the label's own cosine is less by the margin of its class.

    Margins are in proportion to n^(-1/4) and `max_margin` at most; `margins` (C,) has them times s. The
    network's logits are s cos already: `networks` makes its last layer so. After the share `reweight_from` of
    the epochs, classes are weighted by the inverse of their effective numbers, `weights` (C,), whose mean is
    1, and the losses of a minibatch are divided by the mean of its weights.

    Source: Cao et al. 2019 (arXiv 1906.07413), eq. 13 and algorithm 1; effective numbers: Cui et al. 2019.
    """

    margins: Tensor
    weights: Tensor
    reweight_from: float

    @classmethod
    def of(cls, protocol: Protocol, real: Sequence[int], device: str) -> Loss:
        """Make it for the numbers of real images."""
        settings, counts = protocol.ldam_drw, counts_of(real, device)
        margins = counts**-0.25
        margins = settings.scale * settings.max_margin * margins / margins.max()
        weights = (1 - settings.beta) / (1 - settings.beta ** counts.double())
        return cls(margins, (weights / weights.mean()).float(), settings.reweight_from)

    def __call__(self, logits: Tensor, targets: Tensor, progress: float) -> Tensor:
        """Return the loss of each image, (N,), from logits (N, C) and labels (N,)."""
        own = F.one_hot(targets, len(self.margins)) * self.margins
        values = F.cross_entropy(logits - own, targets, reduction="none")
        if progress < self.reweight_from:
            return values
        weights = self.weights[targets]
        return values * weights / weights.mean()
