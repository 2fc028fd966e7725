"""The stages of a run: one, or two where the classifier is trained apart from the features.

Source: Kang et al. 2020, Decoupling Representation and Classifier for Long-Tailed Recognition (arXiv
1910.09217).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch  # noqa: TID253 (nothing imports this module but training)
from torch import nn  # noqa: TID253
from torch.nn.utils import parametrize  # noqa: TID253

from synthkit_eval.sections.augment import MIXING
from synthkit_eval.training.last_layer import last_layer

if TYPE_CHECKING:
    from torch import Tensor

    from synthkit_eval.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Stage:
    """Epochs that train the same weights: `protocol` is that of these alone, `first` their first in the run.

    `classifier` is how the classifier is trained alone (crt or lws), with each class drawn as often as
    another; None where the features are trained with it.
    """

    protocol: Protocol
    first: int = 0
    classifier: Literal["crt", "lws"] | None = None


def stages_of(protocol: Protocol) -> tuple[Stage, ...]:
    """Return the stages of a protocol.

    The second one has frozen features, class-balanced minibatches and plain cross-entropy, which would
    correct for the class frequencies a second time otherwise; its images are not mixed. Its learning rate
    begins anew.
    """
    decouple = protocol.decouple
    if decouple is None:
        return (Stage(protocol),)
    first = protocol.model_copy(update={"decouple": None})
    second = {"epochs": decouple.epochs, "trained": "last-layer", "loss": "cross-entropy", "glmc": None}
    if protocol.augment in MIXING:
        second["augment"] = "none"
    return Stage(first), Stage(first.model_copy(update=second), protocol.epochs, decouple.kind)


def begin_stage(network: nn.Module, stage: Stage) -> None:
    """Freeze a network but for a new last layer (crt), or but for a scale of each class's weights (lws)."""
    if stage.classifier is None:
        return
    network.requires_grad_(False)
    last = last_layer(network)
    if stage.classifier == "lws":
        parametrize.register_parametrization(last, "weight", ClassScales(last.weight))  # type: ignore[arg-type]
        return
    for name, weight in list(last.named_parameters()):
        # New ones: what the processes of the first stage shared would still be sent by these.
        setattr(last, name, nn.Parameter(torch.empty_like(weight)))
    last.reset_parameters()  # type: ignore[operator]


class ClassScales(nn.Module):
    """The weights w of a last layer, those of each class times a scale f that is learned, at first 1: f·w."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # One number for each class, in a shape that multiplies weights of any shape.
        shape = (len(weight), *([1] * (weight.dim() - 1)))
        self.scale = nn.Parameter(torch.ones(shape, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the scaled weights (C, …)."""
        return weight * self.scale
