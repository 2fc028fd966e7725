"""The losses are what their papers' formulas say, computed here with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from synthkit.errors import ScoreError
from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.last_layer import Cosines
from synthkit_eval.training.losses import make_loss
from synthkit_eval.training.losses.balanced_softmax import BalancedSoftmax
from synthkit_eval.training.losses.base import Loss
from synthkit_eval.training.minibatch import Minibatch
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.objective import MeanLoss

REAL = (100, 20, 5, 1)
LOGITS = np.random.default_rng(0).normal(size=(5, 4))
LABELS = np.array([0, 1, 2, 3, 3])


def loss_of(name: str, real: tuple[int, ...] = REAL, *settings: str) -> Loss:
    return make_loss(load_protocol("digits-lt", [f"loss={name}", *settings]), real, "cpu")


def values(loss: Loss, progress: float = 0.0, targets: NDArray[np.float64] | None = None) -> list[float]:
    of = torch.from_numpy(LABELS if targets is None else targets)
    return loss(torch.from_numpy(LOGITS), of, progress).tolist()  # type: ignore[no-any-return]


def minus_log_softmax(logits: NDArray[np.float64], labels: NDArray[np.int64] = LABELS) -> NDArray[np.float64]:
    exponentials = np.exp(logits)
    return -np.log(exponentials[range(len(labels)), labels] / exponentials.sum(axis=1))


def test_balanced_softmax_is_its_formula_and_so_is_its_gradient() -> None:
    # Ren et al. 2020, eq. 4: n_y exp(z_y) / Σ n_i exp(z_i).
    weighted = np.array(REAL) * np.exp(LOGITS)
    expected = -np.log(weighted[range(5), LABELS] / weighted.sum(axis=1))
    assert values(loss_of("balanced-softmax")) == pytest.approx(expected, abs=1e-6)
    counts, labels = torch.tensor(REAL, dtype=torch.float64), torch.from_numpy(LABELS)
    logits = torch.from_numpy(LOGITS).requires_grad_()
    BalancedSoftmax(counts)(logits, labels, 0.0).mean().backward()
    probabilities = torch.from_numpy(weighted / weighted.sum(axis=1, keepdims=True))
    assert torch.allclose(logits.grad, (probabilities - F.one_hot(labels, 4)) / 5, atol=1e-12)


def test_balanced_softmax_of_balanced_classes_is_cross_entropy() -> None:
    balanced = values(loss_of("balanced-softmax", (7, 7, 7, 7)))
    assert balanced == pytest.approx(minus_log_softmax(LOGITS), abs=1e-6)
    assert values(loss_of("cross-entropy", (7, 0, 7, 7))) == pytest.approx(minus_log_softmax(LOGITS))


def test_logit_adjustment_is_its_formula() -> None:
    # Menon et al. 2021, eq. 10: -log(exp(f_y + τ log π_y) / Σ exp(f_j + τ log π_j)).
    frequency = np.array(REAL) / sum(REAL)
    for tau in (0.0, 0.5, 2.0):
        found = values(loss_of("logit-adjusted", REAL, f"logit_adjusted.tau={tau}"))
        assert found == pytest.approx(minus_log_softmax(LOGITS + tau * np.log(frequency)), abs=1e-6)
    once = values(loss_of("logit-adjusted"))
    assert once == pytest.approx(values(loss_of("balanced-softmax")), abs=1e-6)


def test_margins_and_deferred_weights_are_their_formulas() -> None:
    # Cao et al. 2019, eq. 13: Δ_j = C / n_j^(1/4), here with 0.4 for the rarest class, and a scale of 10.
    margins = np.array(REAL) ** -0.25
    margins *= 0.4 / margins.max()
    own = np.zeros((5, 4))
    own[range(5), LABELS] = margins[LABELS]
    # The network gives s cos; the formula's cosines are a tenth of it.
    expected = minus_log_softmax(10 * (LOGITS / 10 - own))
    settings = ("ldam_drw.max_margin=0.4", "ldam_drw.scale=10.0", "ldam_drw.reweight_from=0.5")
    loss = loss_of("ldam-drw", REAL, *settings, "ldam_drw.beta=0.9")
    assert values(loss, 0.49) == pytest.approx(expected, abs=1e-5)
    # Cui et al. 2019: classes weigh 1 / E_n, E_n = (1 - β^n) / (1 - β); their sum divides a minibatch.
    weights = (0.1 / (1 - 0.9 ** np.array(REAL)))[LABELS]
    assert np.mean(values(loss, 0.5)) == pytest.approx((weights * expected).sum() / weights.sum(), abs=1e-5)


def test_networks_of_margins_end_in_cosines() -> None:
    protocol = load_protocol("digits-lt", ["network=test_resnet", "network_args={}", "loss=ldam-drw"])
    last = make_network(protocol, 4).get_classifier()  # type: ignore[operator]
    assert isinstance(last, Cosines)
    features, weight = (
        np.random.default_rng(1).normal(size=(3, last.in_features)),
        last.weight.detach().numpy(),
    )
    norms = np.linalg.norm(features, axis=1)[:, None] * np.linalg.norm(weight, axis=1)
    found = last(torch.from_numpy(features).float()).detach().numpy()
    assert found == pytest.approx(30 * features @ weight.T / norms, abs=1e-4)


@pytest.mark.parametrize("name", ["cross-entropy", "balanced-softmax", "logit-adjusted"])
def test_the_loss_of_shares_is_the_sum_of_its_parts(name: str) -> None:
    """So a mixed image with 0.3 of one class and 0.7 of another has 0.3 and 0.7 of their losses."""
    loss = loss_of(name)
    shares = np.eye(4)[LABELS] * 0.3 + np.eye(4)[LABELS[::-1]] * 0.7
    other = loss(torch.from_numpy(LOGITS), torch.from_numpy(LABELS[::-1].copy()), 0.0)
    expected = 0.3 * np.array(values(loss)) + 0.7 * other.numpy()
    assert values(loss, targets=shares) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["balanced-softmax", "logit-adjusted", "ldam-drw"])
def test_a_class_without_real_images_has_no_such_loss(name: str) -> None:
    with pytest.raises(
        ScoreError, match=rf"loss: {name} needs .* class 1 has none: use --set loss=cross-ent"
    ):
        loss_of(name, (3, 0))


def test_synthetic_images_weigh_what_the_protocol_says() -> None:
    # The mean over the minibatch of w·L, w = 1 of real and 0.3 of synthetic images.
    weights = np.array([1.0, 0.3, 1.0, 0.3, 0.3])
    batch = Minibatch(torch.from_numpy(LOGITS), torch.from_numpy(LABELS), torch.from_numpy(weights), 0)
    found = MeanLoss(loss_of("cross-entropy"))(lambda inputs: inputs, batch, 0.0)
    assert found.item() == pytest.approx(np.mean(weights * minus_log_softmax(LOGITS)))
