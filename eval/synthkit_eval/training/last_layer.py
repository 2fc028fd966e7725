"""The last layer of a network, the classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253 (nothing imports this module but training)
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

from synthkit.errors import ScoreError

if TYPE_CHECKING:
    from torch import Tensor


def last_layer(network: nn.Module) -> nn.Module:
    """Return the layer that timm calls the classifier. Raises ScoreError if there is more than one."""
    found = network.get_classifier()  # type: ignore[operator]
    if not hasattr(found, "weight"):
        raise ScoreError(
            "network: this one has no single last layer, which this protocol needs; choose another network"
        )
    return found  # type: ignore[no-any-return]


def linear_layer(network: nn.Module, field: str) -> nn.Linear | Cosines:
    """Return the last layer. Raises ScoreError, which names the field that needs it, if it is not linear."""
    found = last_layer(network)
    if not isinstance(found, nn.Linear | Cosines):
        raise ScoreError(f"{field}: needs a network whose last layer is linear; choose another network")
    return found


class Cosines(nn.Module):
    """A last layer whose logits are the cosines of features and classes' weights, times a factor.

    Source: Cao et al. 2019 (features and weights have the Euclidean norm 1, as in Wang et al. 2018).
    """

    def __init__(self, in_features: int, classes: int, scale: float) -> None:
        super().__init__()
        self.in_features, self._scale = in_features, scale
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew; only their directions count."""
        nn.init.normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D)."""
        return self._scale * F.linear(F.normalize(features), F.normalize(self.weight))


def use_cosines(network: nn.Module, scale: float) -> None:
    """Replace the last layer by one of cosines. Raises ScoreError if it is not linear."""
    last = linear_layer(network, "loss: ldam-drw")
    place = next(name for name, module in network.named_modules() if module is last)
    classes = last.weight.shape[0]
    network.set_submodule(place, Cosines(last.in_features, classes, scale))
