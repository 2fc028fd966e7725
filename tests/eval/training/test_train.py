"""One training run: its learning rates, and which weights learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.accuracy import Grouping
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages
from synthkit_eval.training.networks import make_network
from synthkit_eval.training.stages import Stage
from synthkit_eval.training.task import Task
from synthkit_eval.training.train import train
from synthkit_eval.training.trained import Trained, forget_predictions
from synthkit_eval.training.trainer import learning_rate, order_of
from tests.helpers.scoring import real_digits, synthetic_of


def test_the_cosine_starts_at_the_learning_rate_and_ends_at_zero() -> None:
    optimizer = load_protocol("imagenet-lt").optimizer
    rates = [learning_rate(optimizer, epoch, 150) for epoch in range(151)]
    assert rates[0] == 0.2
    assert rates[75] == pytest.approx(0.1)
    assert rates[150] == pytest.approx(0.0, abs=1e-17)
    assert rates == sorted(rates, reverse=True)
    network = torch.nn.Linear(1, 1)
    torchs = torch.optim.SGD(network.parameters(), lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(torchs, 150)
    for rate in rates[:150]:
        assert torchs.param_groups[0]["lr"] == pytest.approx(rate)
        torchs.step()
        scheduler.step()
    constant = load_protocol("few-shot").optimizer
    assert {learning_rate(constant, epoch, 50) for epoch in range(50)} == {1e-4}


def test_few_shot_training_touches_the_last_layer_alone(small_release: Path, tmp_path: Path) -> None:
    settings = [
        "network=test_resnet",
        "pretrained=false",
        "epochs=1",
        "batches.iterations=3",
        "images.size=32",
    ]
    protocol = load_protocol("few-shot", settings)
    images = TrainingImages(real_digits(), synthetic_of(small_release), protocol.images)
    evaluation = real_digits("test")
    grouping = Grouping.of(["few"] * 10, np.bincount(evaluation.listing.labels))
    task = Task(protocol, images, evaluation, grouping, (1,) * 10, 76, 3, "cpu", World(), 0)
    train(task, 0, tmp_path / "state.safetensors", lambda count: None)
    torch.manual_seed(0)
    before = make_network(protocol, 10).state_dict()
    after = load_file(tmp_path / "state.safetensors")
    changed = {key for key, value in before.items() if not torch.equal(value, after[f"network.{key}"])}
    assert changed == {"fc.weight", "fc.bias"}
    assert any("running_mean" in key for key in before)
    assert len(order_of(task, Stage(protocol), 0)) == 3


def test_the_epoch_that_counts_and_the_predictions_that_are_kept() -> None:
    measured = [(0.2, 0.5), (0.9, 0.6), (0.5, 0.8), (0.4, 0.8), (0.3, 0.1)]
    rows = [{"overall": test, "validation": val, "predictions": "…", "stage": 1} for test, val in measured]
    run = Trained(0, rows)
    assert [run.counted(report) for report in ("last", "best", "validation")] == [4, 1, 2]
    forget_predictions(rows)
    assert [epoch for epoch, row in enumerate(rows) if "predictions" in row] == [1, 2, 4]
    without = [{**row, "validation": None, "predictions": "…"} for row in rows]
    forget_predictions(without)
    assert [epoch for epoch, row in enumerate(without) if "predictions" in row] == [1, 4]
