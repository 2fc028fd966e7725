"""GLMC is what its paper's formulas say, computed here with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthkit.errors import ScoreError
from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.distributed import World
from synthkit_eval.training.glmc import GlmcLoss, Viewed, WithHeads, views_of
from synthkit_eval.training.minibatch import Minibatch
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.objective import make_objective
from synthkit_eval.training.orders import Paired, Weighted, make_order

REAL = (40, 8, 2)
# Three images and their three partners; the last pair is of one class.
LABELS = np.array([0, 1, 2, 2, 0, 2])
INPUTS = torch.rand(6, 3, 20, 20, generator=torch.Generator().manual_seed(0))
Array = NDArray[np.float64]


def cosine(u: Array, h: Array) -> Array:
    return np.asarray((u * h).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(h, axis=1))


def test_a_view_is_mixed_as_a_whole_and_one_by_a_box() -> None:
    shares = set()
    for seed in range(5):
        views = views_of(INPUTS, 0.5, seed)
        mixed, pasted = views.inputs.chunk(2)
        expected = views.mixed * INPUTS[:3] + (1 - views.mixed) * INPUTS[3:]
        assert torch.allclose(mixed, expected, atol=1e-6)
        of_partner = (pasted[0] == INPUTS[3]).all(dim=0)
        assert float(of_partner.float().mean()) == pytest.approx(1 - views.pasted)
        assert torch.equal(pasted[0][:, ~of_partner], INPUTS[0][:, ~of_partner])
        # The border may cut the box off, never make it larger.
        assert views.pasted >= views.mixed - 0.01
        shares.add(views.mixed)
    assert len(shares) == 5
    assert torch.equal(views_of(INPUTS, 0.5, 4).inputs, views.inputs)


@pytest.mark.parametrize("progress", [0.0, 0.5, 0.9])
def test_the_loss_is_its_formula(progress: float) -> None:
    settings = "glmc={beta: 0.5, reweighting: 1.2, consistency: 3.0, width: 8}"
    protocol = load_protocol("digits-lt", [settings, "loss=cross-entropy"])
    objective = make_objective(protocol, REAL, "cpu")
    assert isinstance(objective, GlmcLoss)
    rng = np.random.default_rng(1)
    logits, h, u = rng.normal(size=(6, 3)), rng.normal(size=(6, 8)), rng.normal(size=(6, 8))
    batch = Minibatch(INPUTS, torch.from_numpy(LABELS), None, seed=7)
    viewed = Viewed(*(torch.from_numpy(part).requires_grad_() for part in (logits, h, u)))
    found = objective(lambda inputs: viewed, batch, progress)

    # Class weights: w_c = C (1/r_c)^k / Σ (1/r_j)^k, with r_c the class's share.
    inverse = (sum(REAL) / np.array(REAL)) ** 1.2
    w = 3 * inverse / inverse.sum()
    views = views_of(INPUTS, 0.5, 7)
    y, other = np.eye(3)[LABELS[:3]], np.eye(3)[LABELS[3:]]
    log_f = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    plain, balanced = 0.0, 0.0
    mixed_weights = views.mixed * w * y + (1 - views.mixed) * w * other
    for share, part in ((views.mixed, log_f[:3]), (views.pasted, log_f[3:])):
        target = share * y + (1 - share) * other
        plain -= (target * part).sum() / (2 * 3)
        balanced -= (mixed_weights * target * part).sum() / (2 * 3)
    similar = -cosine(u[:3], h[3:]).mean() - cosine(u[3:], h[:3]).mean()
    alpha = 1 - progress**2
    expected = alpha * plain + (1 - alpha) * balanced + 3.0 * similar
    assert found.item() == pytest.approx(expected, abs=1e-5)
    # No gradient reaches the projections by way of the consistency.
    found.backward()
    assert viewed.projected.grad is None
    assert viewed.predicted.grad is not None


def test_a_synthetic_images_weight_goes_with_its_share() -> None:
    protocol = load_protocol("digits-lt", ["glmc={consistency: 0.0}", "loss=cross-entropy"])
    objective = make_objective(protocol, REAL, "cpu")
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    weights = torch.tensor([1.0, 0.3, 1.0, 1.0, 0.3, 0.3])

    def loss(of: torch.Tensor) -> float:
        batch = Minibatch(INPUTS, torch.from_numpy(LABELS), of, seed=7)
        return objective(lambda inputs: Viewed(logits, logits, logits), batch, 0.0).item()

    # Plain loss is linear in the weights.
    real, synthetic = (loss((weights == value).float()) for value in torch.tensor([1.0, 0.3]))
    assert loss(weights) == pytest.approx(real + 0.3 * synthetic, abs=1e-5)


def test_heads_see_the_features_of_the_last_layer() -> None:
    protocol = load_protocol("digits-lt", ["network=test_resnet", "network_args={}"])
    network = make_network(protocol, 3)
    heads = WithHeads(network, 8).eval()
    viewed = heads(INPUTS)
    features = network.forward_head(network.forward_features(INPUTS), pre_logits=True)  # type: ignore[operator]
    assert torch.equal(viewed.logits, network(INPUTS))
    assert torch.allclose(viewed.projected, heads.projection(features))
    assert torch.allclose(viewed.predicted, heads.prediction(viewed.projected))
    assert viewed.predicted.shape == (6, 8)


def test_partners_follow_their_minibatch() -> None:
    protocol = load_protocol("digits-lt", ["batches.size=8"])
    order = make_order(protocol.batches, 10, 13, 0, 0, World())
    paired = Paired(order, Weighted(np.arange(23.0), 8, 4, 0))
    plain, both = list(order.batches(2)), list(paired.batches(2))
    assert [batch[: len(batch) // 2] for batch in both] == plain
    assert len(paired) == len(order)
    # An image of weight 0 is nobody's partner.
    assert 0 not in [index for batch in both for index in batch[len(batch) // 2 :]]


def test_a_class_of_one_image_is_refused() -> None:
    protocol = load_protocol("digits-lt", ["glmc={}"])
    with pytest.raises(
        ScoreError, match=r"^glmc: mixes real images, .* 2 .*; class 1 has 1: use --set glmc="
    ):
        make_objective(protocol, (5, 1, 3), "cpu")
