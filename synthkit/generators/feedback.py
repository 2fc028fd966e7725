"""Guidance by a classifier through the clean image that a step predicts: towards images it finds hard.

Source: the criteria of Hemmat et al., Feedback-guided Data Synthesis for Imbalanced Classification, arXiv
2310.00158; the predicted clean image of Song et al., Denoising Diffusion Implicit Models, arXiv 2010.02502,
equation 12; the change of the prediction of Dhariwal and Nichol, Diffusion Models Beat GANs on Image
Synthesis, arXiv 2105.05233, Algorithm 2.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Prediction = Literal["epsilon", "v_prediction", "sample"]


class Mixture(NamedTuple):
    """How noisy latents are made at a step: `signal` times the clean ones and `noise` times normal noise."""

    signal: float
    noise: float

    @classmethod
    def of(cls, alpha_bar: float) -> Mixture:
        """Return that of a step whose share of signal, as variance, is `alpha_bar`: above 0, at most 1."""
        return cls(sqrt(alpha_bar), sqrt(1 - alpha_bar))


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the (N,) entropy in nats of what a classifier says of N images: (N, C) logits."""
    logarithms = logits.log_softmax(dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1)


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the (N,) cross-entropy of (N, C) logits with N labels."""
    return -logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]


def predicted_clean(
    latents: torch.Tensor, predicted: torch.Tensor, kind: Prediction, mixture: Mixture
) -> torch.Tensor:
    """Return the clean latents that a prediction of the model stands for; all are (N, C, H, W)."""
    signal, noise = mixture
    if kind == "sample":
        return predicted
    if kind == "v_prediction":
        return signal * latents - noise * predicted
    return (latents - noise * predicted) / signal


def gradients(
    latents: torch.Tensor,
    clean: Callable[[torch.Tensor], torch.Tensor],
    criterion: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return of each row of latents the gradient of its own criterion, (N, C, H, W).

    `clean` makes clean latents of noisy ones, and `criterion` N numbers of those. They are summed and not
    averaged, so that a row's gradient does not depend on how many others there are.
    """
    import torch

    with torch.enable_grad():
        given = latents.detach().requires_grad_()
        return torch.autograd.grad(criterion(clean(given)).sum(), given)[0]


def changed(
    predicted: torch.Tensor, gradient: torch.Tensor, kind: Prediction, mixture: Mixture, scale: float
) -> torch.Tensor:
    """Return the prediction whose noise is less by scale * sqrt(1 - alpha_bar) * gradient.

    The latents stay, so a prediction of another kind changes by what follows for it.
    """
    signal, noise = mixture
    less = scale * noise * gradient
    if kind == "sample":
        return predicted + noise / signal * less
    if kind == "v_prediction":
        return predicted - less / signal
    return predicted - less
