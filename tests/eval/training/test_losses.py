"""The losses are what their formulas say."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from synthkit.errors import ScoreError
from synthkit_eval.training.losses import balanced_softmax, make_loss


def test_balanced_softmax_is_its_formula_and_so_is_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels, counts = torch.tensor([0, 1, 2, 3, 3]), torch.tensor([100.0, 20.0, 5.0, 1.0], dtype=torch.float64)
    loss = balanced_softmax(logits, labels, counts)
    loss.backward()
    # Ren et al. 2020, eq. 4: n_y exp(z_y) / Σ n_i exp(z_i).
    weighted = counts * logits.detach().exp()
    probabilities = weighted / weighted.sum(1, keepdim=True)
    assert loss.item() == pytest.approx(-probabilities[range(5), labels].log().mean().item(), abs=1e-12)
    expected = (probabilities - F.one_hot(labels, 4)) / 5
    assert torch.allclose(logits.grad, expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: balanced_softmax(z, labels, counts), logits)


def test_balanced_softmax_of_balanced_classes_is_cross_entropy() -> None:
    logits, labels = torch.randn(8, 3), torch.arange(8) % 3
    balanced = make_loss("balanced-softmax", [7, 7, 7], "cpu")(logits, labels)
    assert balanced.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)


def test_a_class_without_real_images_has_no_balanced_softmax() -> None:
    with pytest.raises(ScoreError, match=r"class 1 has none: use --set loss=cross-entropy"):
        make_loss("balanced-softmax", [3, 0], "cpu")
