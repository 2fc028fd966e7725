"""Guidance by a classifier: each formula against one written down plainly, each row by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from synthkit.generators.evaluation import Batch
from synthkit.generators.feedback import (
    Judge,
    Mixture,
    Prediction,
    changed,
    entropy,
    loss,
    predicted_clean,
    with_feedback,
)
from synthkit.generators.guide import resizing
from synthkit.recipe.feedback import Feedback
from synthkit.recipe.sampler import Sampler

KINDS: list[Prediction] = ["epsilon", "v_prediction", "sample"]
MIXTURE = Mixture.of(0.36)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stated(clean: torch.Tensor, noise: torch.Tensor, kind: Prediction) -> torch.Tensor:
    """What a perfect model of a kind predicts."""
    said = {"epsilon": noise, "sample": clean, "v_prediction": 0.6 * noise - 0.8 * clean}
    return said[kind]


def test_entropy_and_loss_are_those_of_the_probabilities() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.98, 0.01, 0.01]], dtype=torch.float64))
    found = entropy(logits).numpy()
    np.testing.assert_allclose(found, [1.5 * np.log(2), -0.98 * np.log(0.98) - 0.02 * np.log(0.01)])
    np.testing.assert_allclose(loss(logits, torch.tensor([1, 0])), [np.log(4), -np.log(0.98)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_clean_latents_are_found_whatever_the_model_predicts(kind: Prediction) -> None:
    clean, noise = normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1)
    found = predicted_clean(0.6 * clean + 0.8 * noise, stated(clean, noise, kind), kind, MIXTURE)
    torch.testing.assert_close(found, clean)


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_becomes_less_alike_whatever_the_model_predicts(kind: Prediction) -> None:
    clean, noise, gradient = (normal(2, 4, 3, 3, seed=seed) for seed in range(3))
    latents = 0.6 * clean + 0.8 * noise
    made = changed(stated(clean, noise, kind), gradient, kind, MIXTURE, 0.5)
    wanted = (latents - 0.8 * (noise - 0.5 * 0.8 * gradient)) / 0.6
    torch.testing.assert_close(predicted_clean(latents, made, kind, MIXTURE), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_scale_zero_changes_no_bit(kind: Prediction) -> None:
    predicted = normal(2, 4, 3, 3).float()
    assert torch.equal(changed(predicted, normal(2, 4, 3, 3, seed=1).float(), kind, MIXTURE, 0.0), predicted)


def test_between_timesteps_the_noise_is_between_theirs() -> None:
    alpha_bars = np.array([0.9, 0.5, 0.1])
    assert Mixture.at(1.0, alpha_bars) == Mixture.of(0.5)
    between = Mixture.at(1.5, alpha_bars)
    assert between.signal**2 + between.noise**2 == pytest.approx(1)
    assert between.noise / between.signal == pytest.approx((1 + 3) / 2)


class Denoising:
    """A denoiser that is a formula, of a batch of three rows with both halves of guidance or one."""

    def __init__(self, kind: Prediction, scale: float, halves: int, every: int = 1) -> None:
        feedback = Feedback(scale=scale, every=every)
        self.kind, self.halves = kind, halves
        sampler = Sampler(guidance_scale=3.0, batch_size=3, feedback=feedback)
        self.batch = Batch(sampler, [1, 2, 3], 2, {})
        self.latents, self.weights = normal(3, 4, 2, 2).float(), normal(16, 5, seed=2).float()
        self.step = {"sample": torch.cat([self.latents] * halves), "timestep": torch.tensor(1)}
        judge = Judge(self.criterion, kind, np.array([0.9, 0.36]))
        self.evaluate = with_feedback(self.plain, self.batch, feedback, judge)

    def plain(self, step: Any) -> Any:
        half = torch.arange(len(step["sample"])).div(3, rounding_mode="floor").view(-1, 1, 1, 1)
        return torch.tanh(0.5 * step["sample"].flip(3) + 0.1 * half), "more"

    def criterion(self, clean: torch.Tensor) -> torch.Tensor:
        return entropy(clean.flatten(1) @ self.weights.to(clean.dtype))

    def of(self, latents: torch.Tensor) -> torch.Tensor:
        """The criterion of what a step predicts of latents, in double precision, written down plainly."""
        (predicted, _) = self.plain({"sample": torch.cat([latents] * self.halves)})
        if self.halves == 2:
            predicted = predicted[:3] + 3.0 * (predicted[3:] - predicted[:3])
        return self.criterion(predicted_clean(latents, predicted, self.kind, MIXTURE))

    def gradient(self) -> torch.Tensor:
        """The gradient of each row's criterion, by differences."""
        latents, found, small = self.latents.double(), torch.zeros(3, 16, dtype=torch.float64), 1e-5
        for number in range(16):
            moved = torch.zeros(1, 16, dtype=torch.float64)
            moved[0, number] = small
            moved = moved.view(1, 4, 2, 2)
            found[:, number] = (self.of(latents + moved) - self.of(latents - moved)) / (2 * small)
        return found.view(3, 4, 2, 2)


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_moved_along_the_gradient_of_each_row(kind: Prediction, halves: int) -> None:
    made = Denoising(kind, 0.7, halves)
    predicted, more = made.evaluate(made.step)
    plain, _ = made.plain(made.step)
    gradient = made.gradient().float().repeat(halves, 1, 1, 1)
    torch.testing.assert_close(predicted, changed(plain, gradient, kind, MIXTURE, 0.7), rtol=1e-3, atol=1e-4)
    assert more == "more" and not predicted.requires_grad


def test_every_third_evaluation_alone_is_guided_and_none_of_noise_alone() -> None:
    made = Denoising("epsilon", 0.7, 2, every=3)
    plain, _ = made.plain(made.step)
    same = [torch.equal(made.evaluate(made.step)[0], plain) for _ in range(7)]
    assert same == [True, True, False, True, True, False, True]
    judge = Judge(made.criterion, "epsilon", np.array([0.9, 0.0]))
    noise = with_feedback(made.plain, made.batch, Feedback(scale=0.7, every=1), judge)
    assert torch.equal(noise(made.step)[0], plain)


@pytest.mark.parametrize(("edge", "size"), [(32, 32), (32, 20), (20, 32), (64, 17)])
def test_images_are_resized_as_pytorch_does(edge: int, size: int) -> None:
    images, rows = normal(2, 3, edge, edge).float(), torch.from_numpy(resizing(edge, size))
    wanted = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(rows @ images @ rows.T, wanted, rtol=1e-4, atol=1e-5)


def test_the_middle_of_an_image_is_what_is_left_of_a_larger_one() -> None:
    whole, middle = resizing(64, 40), resizing(64, 32, 0.8)
    np.testing.assert_allclose(middle, whole[4:-4], atol=1e-6)
