"""A second stage trains the classifier alone, on as many images of each class."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.orders import Weighted, class_weights
from synthkit_eval.training.stages import begin_stage, stages_of
from synthkit_eval.training.trained import counted

SMALL = ("network=test_resnet", "network_args={}", "images.size=32")


def test_a_decoupled_protocol_has_two_stages() -> None:
    (only,) = stages_of(load_protocol("digits-lt"))
    assert (only.protocol, only.first, only.classifier) == (load_protocol("digits-lt"), 0, None)
    settings = ["augment=mixup", "decouple={kind: crt, epochs: 4}"]
    first, second = stages_of(load_protocol("digits-lt", settings))
    assert (first.protocol.epochs, first.protocol.loss, first.protocol.augment) == (
        10,
        "balanced-softmax",
        "mixup",
    )
    assert (second.first, second.protocol.epochs, second.protocol.loss) == (10, 4, "cross-entropy")
    assert (second.protocol.augment, second.protocol.trained) == ("none", "last-layer")
    randomly = load_protocol("digits-lt", ["augment=randaugment", settings[1]])
    assert stages_of(randomly)[1].protocol.augment == "randaugment"


@pytest.mark.parametrize("kind", ["crt", "lws"])
def test_the_second_stage_trains_what_its_kind_says(kind: str) -> None:
    protocol = load_protocol("digits-lt", [*SMALL, f"decouple={{kind: {kind}, epochs: 1}}"])
    network = make_network(protocol, 10)
    features, last = torch.randn(5, 32), network.get_classifier()  # type: ignore[operator]
    assert isinstance(last, nn.Linear)
    features = torch.randn(5, last.in_features)
    weight, bias = last.weight.detach().clone(), last.bias.detach().clone()
    begin_stage(network, stages_of(protocol)[1])
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    if kind == "crt":
        assert trained == {"fc.weight", "fc.bias"}
        assert not torch.equal(last.weight, weight)
        return
    (name,) = trained
    scales = torch.arange(1.0, 11.0)
    # Kang et al. 2020, section 4.2: w̃_i = f_i w_i, with f_i = 1 at first.
    assert torch.equal(last(features), features @ weight.T + bias)
    network.get_parameter(name).data.copy_(scales[:, None])
    expected = features @ weight.T * scales + bias
    assert torch.allclose(last(features), expected, atol=1e-5)


LABELS = np.array([0] * 6 + [1] * 3 + [2] + [1] * 2 + [2] * 4)  # the last six are synthetic


def drawn(share: float, synthetic: int, frequency: NDArray[np.float64]) -> Counter[tuple[int, bool]]:
    labels = LABELS if synthetic else LABELS[:10]
    order = Weighted(class_weights(labels, synthetic, share, frequency), 1000, 12, seed=0)
    assert len(order) == 12
    indices = [index for batch in order.batches(3) for index in batch]
    assert indices == [index for batch in order.batches(3) for index in batch]
    assert indices != [index for batch in order.batches(4) for index in batch]
    return Counter((int(labels[index]), index >= 10) for index in indices)


@pytest.mark.parametrize(
    ("share", "synthetic", "expected"),
    [
        # Class 0 has real images alone.
        (0.25, 6, {(0, False): 1, (1, False): 1 / 4, (1, True): 3 / 4, (2, False): 1 / 4, (2, True): 3 / 4}),
        (0.5, 0, {(0, False): 1, (1, False): 1, (2, False): 1}),
        (0.0, 6, {(1, True): 3 / 2, (2, True): 3 / 2}),
    ],
)
def test_each_class_is_drawn_as_often(
    share: float, synthetic: int, expected: dict[tuple[int, bool], float]
) -> None:
    found = drawn(share, synthetic, np.ones(3))
    assert found.keys() == expected.keys()
    assert found == pytest.approx({key: 4000 * value for key, value in expected.items()}, abs=250)


def test_classes_are_drawn_by_their_frequency() -> None:
    found = drawn(0.5, 0, np.array([1.0, 2.0, 5.0]))
    assert found == pytest.approx({(0, False): 1500, (1, False): 3000, (2, False): 7500}, abs=200)


def test_an_epoch_of_the_last_stage_counts() -> None:
    rows = [(1, 0.9), (1, 0.8), (2, 0.5), (2, 0.7), (2, 0.6)]
    history = [{"stage": stage, "overall": value, "validation": 1 - value} for stage, value in rows]
    assert [counted(history, report) for report in ("last", "best", "validation")] == [4, 3, 2]
    assert counted(history[:2], "best") == 0
