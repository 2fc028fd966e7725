"""The losses of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 (nothing imports this module but training)
from torch.nn import functional as F  # noqa: TID253

from synthkit.errors import ScoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(name: str, real: Sequence[int], device: str) -> Loss:
    """Return a function from logits (N, C) and labels (N,) to their mean loss.

    `real` is the number of real training images of each class. Raises ScoreError if it is 0 of a class and
    the loss is Balanced Softmax.
    """
    if name == "cross-entropy":
        return F.cross_entropy
    if min(real) < 1:
        raise ScoreError(
            f"loss: balanced-softmax needs real images of every class; class {list(real).index(min(real))} "
            "has none: use --set loss=cross-entropy"
        )
    counts = torch.tensor(real, dtype=torch.float32, device=device)
    return lambda logits, labels: balanced_softmax(logits, labels, counts)


def balanced_softmax(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return the cross-entropy of logits (N, C) + log n; n (C,) counts each class's real training images.

    Source: Ren et al. 2020, Balanced Meta-Softmax for Long-Tailed Visual Recognition, eq. 4.
    """
    return F.cross_entropy(logits + counts.log(), labels)
