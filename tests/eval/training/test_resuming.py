"""A run that was stopped ends as one that was not, to the last bit, however it trains."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from synthkit.sources.pool import RealImages
from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.accuracy import Grouping
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages
from synthkit_eval.training.synthetic_images import SyntheticImages
from synthkit_eval.training.task import Task
from synthkit_eval.training.timm_augmentation import image_change
from synthkit_eval.training.train import train
from synthkit_eval.training.trained import Trained
from tests.helpers.scoring import real_digits, synthetic_of

SETTINGS = ("network=test_resnet", "network_args={}", "images.size=16", "batches.size=32", "epochs=2")


Data = tuple[RealImages, SyntheticImages]


class Stopped(Exception):
    """A run is stopped where its progress is told."""


@pytest.fixture(scope="module")
def data(flat_release: Path) -> Data:
    return real_digits(), synthetic_of(flat_release)


@pytest.fixture(scope="module")
def plain(data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A run without any of the settings, and its state."""
    state = tmp_path_factory.mktemp("plain") / "state"
    return run(data, state, stop=0), state


def run(data: Data, state: Path, *settings: str, stop: int, weights: Path | None = None) -> Trained:
    """Train two epochs, stopped after `stop` minibatches and then continued."""
    real, synthetic = data
    protocol = load_protocol("digits-lt", [*SETTINGS, *settings])
    images = TrainingImages(real, synthetic, protocol.images, image_change(protocol))
    counts = np.bincount(real.listing.labels)
    task = Task(
        protocol=protocol,
        training=images,
        evaluation=real,  # few images, to be done soon
        grouping=Grouping.of(["few"] * 10, counts),
        real=tuple(counts.tolist()),
        synthetic=len(synthetic),
        steps=3,
        device="cpu",
        world=World(),
        workers=0,
    )
    told = 0

    def advance(count: float) -> None:
        nonlocal told
        told += 1
        if told == stop:
            raise Stopped

    with patch("time.monotonic", return_value=0.0):  # so that states of equal runs are equal, byte by byte
        try:
            return train(task, 5, state, advance, weights)
        except Stopped:
            return train(task, 5, state, lambda count: None, weights)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("synthetic_weight=0.3", marks=pytest.mark.slow),
        "augment=randaugment",
        "augment=mixup synthetic_weight=0.3",
        pytest.param("augment=cutmix", marks=pytest.mark.slow),
        "loss=ldam-drw ldam_drw.reweight_from=0.5",
        "glmc={}",
    ],
)
def test_a_stopped_run_ends_as_one_that_was_not(
    data: Data, plain: tuple[Trained, Path], tmp_path: Path, settings: str
) -> None:
    whole = run(data, tmp_path / "whole", *settings.split(), stop=0)
    assert whole.history[0]["training_loss"] != plain[0].history[0]["training_loss"]
    # An epoch has five minibatches: it stops in the second one.
    assert run(data, tmp_path / "resumed", *settings.split(), stop=7).history == whole.history
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("report", ["best", "last"])
def test_the_network_that_is_kept_is_that_of_the_epoch_that_counts(
    data: Data, tmp_path: Path, report: str
) -> None:
    # A learning rate at which the second epoch is no better than the first.
    settings = (f"report={report}", "optimizer.learning_rate=1.0")
    whole = run(data, tmp_path / "whole", *settings, stop=0, weights=tmp_path / "a")
    run(data, tmp_path / "resumed", *settings, stop=7, weights=tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert whole.counted(report) == {"best": 0, "last": 1}[report]
    kept, after = load_file(tmp_path / "a"), load_file(tmp_path / "whole")
    same = all(torch.equal(value, after[f"network.{key}"]) for key, value in kept.items())
    assert same is (report == "last")


@pytest.mark.parametrize("kind", ["lws", pytest.param("crt", marks=pytest.mark.slow)])
def test_a_run_stops_in_its_second_stage(
    data: Data, plain: tuple[Trained, Path], tmp_path: Path, kind: str
) -> None:
    settings = f"decouple={{kind: {kind}, epochs: 2}}"
    whole = run(data, tmp_path / "whole", settings, stop=0)
    assert [row["stage"] for row in whole.history] == [1, 1, 2, 2]
    # Each stage begins with the learning rate of the first epoch.
    assert [row["learning_rate"] for row in whole.history] == [0.05, 0.025, 0.05, 0.025]
    assert plain[0].history[1]["loss"] == whole.history[1]["loss"] != whole.history[2]["loss"]
    before, after = load_file(plain[1]), load_file(tmp_path / "whole")
    kept = [key for key in before if key.startswith("network.") and not key.startswith("network.fc.")]
    assert kept
    assert all(torch.equal(before[key], after[key]) for key in kept)
    # Two epochs of five minibatches are the first stage: it stops as the second has begun, and later in it.
    for stop in (11, 14):
        assert run(data, tmp_path / f"{stop}", settings, stop=stop).history == whole.history
        assert (tmp_path / f"{stop}").read_bytes() == (tmp_path / "whole").read_bytes()
