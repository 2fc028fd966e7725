"""Networks: weights from a file, and the stem for small images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthkit.errors import ScoreError
from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.networks import begin_training, make_network


def test_weights_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    settings = ["network=test_resnet", "network_args={}", f"pretrained={tmp_path / 'weights.safetensors'}"]
    torch.manual_seed(3)
    other = make_network(load_protocol("few-shot", ["network=test_resnet", "pretrained=false"]), 7)
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    protocol = load_protocol("few-shot", settings)
    mine = make_network(protocol, 10).state_dict()
    first = next(iter(mine))
    assert torch.equal(mine[first], other.state_dict()[first])
    assert mine["fc.weight"].shape[0] == 10
    assert "weights.safetensors" in protocol.settings()["pretrained"]
    assert str(tmp_path) not in str(protocol.settings())
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ScoreError, match="does not fit the network"):
        make_network(protocol, 10)


def test_a_small_stem_keeps_small_images_whole() -> None:
    protocol = load_protocol("cifar10-lt")
    network = make_network(protocol, 10)
    assert network.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 512, 4, 4)  # type: ignore[operator]


@pytest.mark.parametrize("statistics", ["kept", "updated"])
def test_statistics_of_frozen_layers(statistics: str) -> None:
    """Updated, they and the features follow the minibatch; no weight but the last layer's has a gradient."""
    settings = ["network=test_resnet", "pretrained=false", f"frozen_statistics={statistics}"]
    torch.manual_seed(3)
    protocol = load_protocol("few-shot", settings)
    network = make_network(protocol, 7)
    images = 5 + 3 * torch.randn(4, 3, 64, 64)
    before, tested = network.bn1.running_mean.clone(), network(images)  # type: ignore[union-attr,operator]
    begin_training(network, protocol)
    scores = network(images)
    scores.sum().backward()
    kept = statistics == "kept"
    assert torch.equal(network.bn1.running_mean, before) is kept  # type: ignore[union-attr,arg-type]
    assert torch.equal(scores, tested) is kept
    assert {name for name, weight in network.named_parameters() if weight.grad is not None} == {
        "fc.weight",
        "fc.bias",
    }
