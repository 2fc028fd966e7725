"""Minibatches hold the images that a protocol asks for, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from synthkit_eval.protocol import load_protocol
from synthkit_eval.sections.batches import Batches
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages, training_batches
from synthkit_eval.training.orders import make_order
from tests.helpers.scoring import real_digits, synthetic_of


@pytest.fixture
def pair(small_release: Path) -> TrainingImages:
    images = load_protocol("digits-lt").images
    return TrainingImages(real_digits(), synthetic_of(small_release), images)


def test_an_epoch_is_one_pass_over_the_synthetic_images_half_and_half(pair: TrainingImages) -> None:
    order = make_order(Batches(size=32), 44, 76, 0, 5, World())
    loaded = list(training_batches(pair, order, epoch=0, seed=5, world=World(), workers=0))
    batches = list(order.batches(0))
    assert [len(batch.labels) for batch in loaded] == [32, 32, 32, 32, 24]
    assert len(order) == len(loaded) == 5
    for batch in batches:
        assert sum(index < 44 for index in batch) == len(batch) // 2
    synthetic = [index for batch in batches for index in batch if index >= 44]
    assert sorted(synthetic) == list(range(44, 120))
    # Real ones are drawn with replacement.
    assert max(Counter(index for batch in batches for index in batch if index < 44).values()) > 1
    labels = [pair.labels[batch].tolist() for batch in batches]
    assert [batch.labels.tolist() for batch in loaded] == labels


def test_the_order_follows_from_the_seed_and_the_epoch(pair: TrainingImages) -> None:
    def orders(seed: int, epoch: int) -> list[list[int]]:
        return list(make_order(Batches(size=32), 44, 76, 0, seed, World()).batches(epoch))

    assert orders(1, 0) == orders(1, 0)
    assert orders(1, 0) != orders(1, 1) != orders(2, 1)

    def epoch(workers: int) -> list[torch.Tensor]:
        order = make_order(Batches(size=32), 44, 76, 0, 1, World())
        batches = training_batches(pair, order, epoch=3, seed=1, world=World(), workers=workers)
        return [batch.pixels for batch in batches]

    assert all(torch.equal(a, b) for a, b in zip(epoch(0), epoch(2), strict=True))


def test_processes_share_each_minibatch_half_and_half(pair: TrainingImages) -> None:
    order = make_order(Batches(size=32), 44, 76, 0, 1, World(0, 2))
    parts = [
        list(training_batches(pair, order, epoch=0, seed=1, world=World(rank, 2), workers=0))
        for rank in (0, 1)
    ]
    # The incomplete last minibatch is left out: it could leave a process with nothing.
    assert [len(batch.labels) for batch in parts[0]] == [16] * 4
    for number, indices in enumerate(order.batches(0)):
        both = torch.stack([parts[0][number].labels, parts[1][number].labels], 1).flatten()
        assert both.tolist() == pair.labels[indices].tolist()
        assert sum(index < 44 for index in indices[::2]) == 8


def test_a_coin_decides_each_image() -> None:
    order = make_order(Batches(size=32, mixing="coin", iterations=200), 44, 76, 200, 0, World())
    drawn = [index for batch in order.batches(0) for index in batch]
    assert len(drawn) == 6400
    assert sum(index >= 44 for index in drawn) == pytest.approx(3200, abs=4 * 40)
    assert set(drawn) == set(range(120))


def test_a_coin_falls_as_often_on_the_real_side_as_the_protocol_says() -> None:
    batches = Batches(size=32, mixing="coin", iterations=200, real=0.2)
    drawn = [index for batch in make_order(batches, 44, 76, 200, 0, World()).batches(0) for index in batch]
    assert sum(index < 44 for index in drawn) == pytest.approx(1280, abs=4 * 32)
    alone = Batches(size=32, mixing="coin", iterations=20, real=0)
    assert (
        min(index for batch in make_order(alone, 44, 76, 20, 0, World()).batches(0) for index in batch) >= 44
    )


def test_every_minibatch_of_a_pass_has_the_share_of_real_images() -> None:
    order = make_order(Batches(size=32, real=0.3), 44, 76, 0, 5, World())
    batches = list(order.batches(0))
    assert [sum(index < 44 for index in batch) for batch in batches] == [10, 10, 10, 5]
    assert [len(batch) for batch in batches] == [32, 32, 32, 15]
    assert len(order) == 4


def test_real_images_alone_are_drawn_with_replacement() -> None:
    order = make_order(Batches(size=32), 44, 0, 5, 0, World())
    batches = list(order.batches(0))
    assert [len(batch) for batch in batches] == [32] * 5
    assert max(index for batch in batches for index in batch) < 44
