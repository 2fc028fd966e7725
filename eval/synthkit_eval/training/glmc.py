"""Global and local mixture consistency cumulative learning.

Source: Du et al. 2023, Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual
Recognitions (arXiv 2305.08661), section 3. A minibatch is mixed with its partners twice: as a whole (MixUp)
and by a box (CutMix). Both views are classified, first by the plain loss and, as epochs go by, by one with
weighted classes; and their features are made alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from timm.data.mixup import cutmix_bbox_and_lam  # noqa: TID253
from torch import nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

from synthkit.errors import ScoreError
from synthkit_eval.training.last_layer import linear_layer
from synthkit_eval.training.losses.base import counts_of
from synthkit_eval.training.minibatch import weighted_classes
from synthkit_eval.training.timm_augmentation import numbers_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from synthkit_eval.sections.glmc import Glmc
    from synthkit_eval.training.losses.base import Loss
    from synthkit_eval.training.minibatch import Minibatch

# So many real images a class has at least: one alone is mixed with itself, which is no mixture.
_LEAST = 2


class Viewed(NamedTuple):
    """What a network makes of N images: logits (N, C), projections h and predictions u, (N, width)."""

    logits: Tensor
    projected: Tensor
    predicted: Tensor


class WithHeads(nn.Module):
    """A network that also projects its features, h, and predicts the other view's projection from them, u.

    Each head has two layers with batch normalisation between them, as the predictor of SimSiam (Chen and He
    2021).
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        last = linear_layer(network, "glmc")
        self.network = network
        self.projection = _head(last.in_features, width)
        self.prediction = _head(width, width)
        self._features = torch.empty(0)
        last.register_forward_pre_hook(self._keep)

    def _keep(self, last: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def forward(self, inputs: Tensor) -> Viewed:
        """Return logits, projections and predictions of images (N, 3, H, W)."""
        logits = self.network(inputs)
        projected = self.projection(self._features)
        return Viewed(logits, projected, self.prediction(projected))


def _head(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
    )


@dataclass(frozen=True, slots=True)
class GlmcLoss:
    """α L_c + (1 - α) L_cb + γ L_sim, with α = 1 - (T / T_max)² in epoch T, counted from 0.

    `weights` (C,) are those of the classes in L_cb. A synthetic image's weight goes with its share of a mixed
    image.
    """

    loss: Loss
    settings: Glmc
    weights: Tensor

    @classmethod
    def of(cls, loss: Loss, settings: Glmc, real: Sequence[int], device: str) -> GlmcLoss:
        """Make it for the numbers of real images. Raises ScoreError if a class has fewer than two."""
        if min(real) < _LEAST:
            raise ScoreError(
                f"glmc: mixes real images, and needs {_LEAST} of every class; class "
                f"{list(real).index(min(real))} has {min(real)}: use --set glmc=null"
            )
        return cls(loss, settings, class_weights_of(real, settings.reweighting, device))

    def __call__(self, forward: Callable[[Tensor], Any], batch: Minibatch, progress: float) -> Tensor:
        """Return the loss, a scalar, of N images followed by their N partners."""
        views = views_of(batch.inputs, self.settings.beta, batch.seed)
        viewed = Viewed(*(part.float() for part in forward(views.inputs)))
        # The loss is linear in its targets: those of α L_c + (1 - α) L_cb are one.
        targets = targets_of(views, batch, 1 - progress**2, self.weights)
        value = self.loss(viewed.logits, targets, progress).mean()
        return value + self.settings.consistency * consistency(viewed)


def class_weights_of(real: Sequence[int], exponent: float, device: str) -> Tensor:
    """Return C (1/r_c)^k / Σ (1/r_j)^k for each class, (C,), with r its share of the real images."""
    counts = counts_of(real, device)
    weights = (counts.sum() / counts) ** exponent
    return len(real) * weights / weights.sum()


class Views(NamedTuple):
    """Both views of N images, (2N, 3, H, W), the mixed ones before those with a box.

    `mixed` and `pasted` are the share that an image has in them; its partner has the rest.
    """

    inputs: Tensor
    mixed: float
    pasted: float


def views_of(inputs: Tensor, beta: float, seed: int) -> Views:
    """Mix N images with the N that follow them: λ x + (1 - λ) x', and x with a box of x'.

    λ ~ Beta(β, β) is drawn once for all. The box has the area 1 - λ, unless the border cuts it off: the share
    is that of the areas.
    """
    first, other = inputs.chunk(2)
    with numbers_from(seed):
        share = float(np.random.beta(beta, beta))
        (top, bottom, left, right), kept = cutmix_bbox_and_lam(first.shape, share)
    pasted = first.clone()
    pasted[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
    return Views(torch.cat([share * first + (1 - share) * other, pasted]), share, float(kept))


def targets_of(views: Views, batch: Minibatch, alpha: float, weights: Tensor) -> Tensor:
    """Return the weight of each class in the loss of both views, (2N, C): p̃ (α + (1 - α) w̃).

    All products are element by element. p̃ are the classes of a view; w̃ = λ w y + (1 - λ) w y' mixes the class
    weights as one-hot vectors, the same for both views.
    """
    own, other = weighted_classes(batch.labels, None, len(weights)).chunk(2)
    factor = alpha + (1 - alpha) * weights * (views.mixed * own + (1 - views.mixed) * other)
    own, other = weighted_classes(batch.labels, batch.weights, len(weights)).chunk(2)
    parts = [share * own + (1 - share) * other for share in (views.mixed, views.pasted)]
    return torch.cat([part * factor for part in parts])


def consistency(viewed: Viewed) -> Tensor:
    """Return L_sim: both views' mean negative cosines of u with the other view's h, which has no gradient."""
    (h_mixed, h_pasted), (u_mixed, u_pasted) = viewed.projected.chunk(2), viewed.predicted.chunk(2)
    return _negative_cosine(u_mixed, h_pasted.detach()) + _negative_cosine(u_pasted, h_mixed.detach())


def _negative_cosine(predicted: Tensor, projected: Tensor) -> Tensor:
    return -F.cosine_similarity(predicted, projected).mean()
