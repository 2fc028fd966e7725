"""Guidance by a classifier: each formula against one written down plainly, each row by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthkit.generators.feedback import (
    Mixture,
    Prediction,
    changed,
    entropy,
    gradients,
    loss,
    predicted_clean,
)

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


def test_a_row_has_the_gradient_that_it_has_alone_and_the_change_raises_its_entropy() -> None:
    latents, predicted, weights = normal(3, 4, 3, 3), normal(3, 4, 3, 3, seed=1), normal(36, 5, seed=2)

    def towards(some: slice) -> torch.Tensor:
        return gradients(
            latents[some],
            lambda noisy: predicted_clean(noisy, predicted[some], "epsilon", MIXTURE),
            lambda clean: entropy(clean.flatten(1) @ weights),
        )

    whole = towards(slice(0, 3))
    for row in range(3):
        torch.testing.assert_close(whole[row : row + 1], towards(slice(row, row + 1)))

    def of(prediction: torch.Tensor) -> torch.Tensor:
        return entropy(predicted_clean(latents, prediction, "epsilon", MIXTURE).flatten(1) @ weights)

    assert (of(changed(predicted, whole, "epsilon", MIXTURE, 1e-3)) > of(predicted)).all()
