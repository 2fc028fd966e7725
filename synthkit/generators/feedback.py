"""`sampler.feedback`: guidance by a classifier through the clean image that a step predicts.

The prediction of the noise is changed as if the density of images were multiplied by exp(scale * criterion),
where the criterion is what a classifier says of the clean image: images that it finds hard become likelier.
The gradient runs through the classifier, the decoder, the predicted clean latents and the denoiser.

Source: Hemmat et al., Feedback-guided Data Synthesis for Imbalanced Classification, arXiv 2310.00158, the
criteria; Song et al., Denoising Diffusion Implicit Models, arXiv 2010.02502, equation 12, the predicted clean
image; Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233, Algorithm 2, the
change of the prediction.
"""

from __future__ import annotations

from itertools import count
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.gradients import same_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from synthkit.generators.evaluation import Arguments, Batch, Evaluate
    from synthkit.recipe.feedback import Feedback

Prediction = Literal["epsilon", "v_prediction", "sample"]
# What the criterion is multiplied by where gradients are half-precision numbers, which are 0 below 6e-8.
_RAISED = 4096.0


class Mixture(NamedTuple):
    """How noisy latents are made at a step: `signal` times the clean ones and `noise` times normal noise."""

    signal: float
    noise: float

    @classmethod
    def of(cls, alpha_bar: float) -> Mixture:
        """Return that of a step whose share of signal, as variance, is `alpha_bar`: above 0, at most 1."""
        return cls(sqrt(alpha_bar), sqrt(1 - alpha_bar))

    @classmethod
    def at(cls, timestep: float, alpha_bars: NDArray[np.float64]) -> Mixture:
        """Return that of a timestep, of which the whole ones have `alpha_bars`; between them noise is even.

        Schedulers whose latents are larger divide them before the denoiser is given them.
        """
        if timestep == int(timestep):
            return cls.of(float(alpha_bars[int(timestep)]))
        sigmas = np.sqrt(1 / alpha_bars - 1)
        sigma = float(np.interp(timestep, np.arange(len(sigmas)), sigmas))
        return cls.of(1 / (1 + sigma * sigma))


class Judge(NamedTuple):
    """What a batch is guided by: a criterion, (N,), of clean latents, (N, C, H, W) float32.

    `kind` is what the denoiser predicts, `alpha_bars` the share of signal at each timestep it was trained at.
    """

    criterion: Callable[[torch.Tensor], torch.Tensor]
    kind: Prediction
    alpha_bars: NDArray[np.float64]


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the (N,) entropy in nats of what a classifier says of N images: (N, C) logits."""
    logarithms = logits.log_softmax(dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1)


def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the (N,) cross-entropy of (N, C) logits with N labels."""
    return -logits.log_softmax(dim=1).gather(1, labels[:, None])[:, 0]


def judge_of(
    feedback: Feedback,
    guide: Callable[[torch.Tensor], torch.Tensor],
    decoded: Callable[[torch.Tensor], torch.Tensor],
    scheduler: Any,
    labels: torch.Tensor,
) -> Judge:
    """Return what guides a batch of classes `labels` (N,): what a classifier says of its images, decoded.

    Raises GeneratorError if the model predicts something else than the criterion can be had of.
    """
    kind = scheduler.config.prediction_type
    if kind not in get_args(Prediction):
        raise GeneratorError(f"sampler.feedback: a model that predicts {kind!r:.40} cannot be guided so")

    def criterion(clean: torch.Tensor) -> torch.Tensor:
        logits = guide(decoded(clean).clamp(0, 1))
        return entropy(logits) if feedback.criterion == "entropy" else loss(logits, labels)

    return Judge(criterion, kind, np.asarray(scheduler.alphas_cumprod, dtype=np.float64))


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


def with_feedback(evaluate: Evaluate, batch: Batch, feedback: Feedback, judge: Judge) -> Evaluate:
    """Change what is predicted at every n-th evaluation, so that the criterion of the clean image rises.

    Both halves of guidance change by the same, and so does what the pipeline makes of them. Where there is
    noise alone, nothing is known of the clean image, and nothing changes.
    """
    evaluations = count(1)

    def evaluated(step: Arguments) -> Any:
        due = next(evaluations) % feedback.every == 0
        mixture = Mixture.at(batch.timestep(step), judge.alpha_bars) if due else None
        if mixture is None or not mixture.signal:
            return evaluate(step)
        return _guided(evaluate, step, batch, judge, mixture, feedback.scale)

    return evaluated


def _guided(
    evaluate: Evaluate, step: Arguments, batch: Batch, judge: Judge, mixture: Mixture, scale: float
) -> Any:
    """Evaluate a step with a gradient, and return its prediction changed by it."""
    import torch

    name, rows = next(iter(step)), len(batch.seeds)
    given = step[name]
    halves = len(given) // rows
    raised = _RAISED if given.dtype == torch.float16 else 1.0
    with torch.enable_grad(), same_bits(given.device):
        latents = given[:rows].detach().clone().float().requires_grad_()
        predicted, *others = evaluate(step | {name: torch.cat([latents] * halves).to(given.dtype)})
        # Some networks predict how sure they are, too, in further channels.
        own = predicted[:, : latents.shape[1]].float()
        clean = predicted_clean(latents, _sampled(own, batch), judge.kind, mixture)
        # Summed and not averaged: a row's gradient does not depend on how many others there are.
        (gradient,) = torch.autograd.grad(raised * judge.criterion(clean).sum(), latents)
    told = predicted.detach().clone()
    gradient = gradient.repeat(halves, 1, 1, 1) / raised
    moved = changed(own.detach(), gradient, judge.kind, mixture, scale)
    told[:, : latents.shape[1]] = moved.to(told.dtype)
    return (told, *others)


def _sampled(predicted: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the prediction that the pipeline goes on with, of both halves of guidance or of one row each."""
    if len(predicted) == len(batch.seeds):
        return predicted
    without, conditional = predicted.chunk(2)
    return without + batch.sampler.guidance_scale * (conditional - without)
