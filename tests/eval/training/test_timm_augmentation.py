"""timm's augmentation follows from its seeds alone, and leaves everybody else's random numbers alone."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthkit_eval.protocol import load_protocol
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import TrainingImages, training_batches
from synthkit_eval.training.orders import make_order
from synthkit_eval.training.timm_augmentation import Mixture, RandAugment, image_change
from tests.helpers.scoring import real_digits, synthetic_of


@pytest.fixture
def picture() -> Tensor:
    y, x = np.mgrid[0:32, 0:32]
    return torch.from_numpy(np.stack([x * 8, y * 8, 255 - 4 * (x + y)]).astype(np.uint8))


def test_randaugment_follows_from_the_seed(picture: Tensor) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist()
    change = RandAugment(load_protocol("digits-lt", ["augment=randaugment"]))
    found = [change(picture, seed) for seed in (*range(8), 3)]
    assert all(image.shape == picture.shape and image.dtype == torch.uint8 for image in found)
    assert torch.equal(found[3], found[8])
    assert len({image.numpy().tobytes() for image in found}) >= 7
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_more_layers_and_magnitude_change_an_image_more(picture: Tensor) -> None:
    def change(layers: int, magnitude: int) -> float:
        settings = [f"randaugment={{layers: {layers}, magnitude: {magnitude}}}"]
        augment = RandAugment(load_protocol("digits-lt", ["augment=randaugment", *settings]))
        changed = torch.stack([augment(picture, seed) for seed in range(60)])
        return float((changed.float() - picture.float()).abs().mean())

    assert change(1, 2) < change(1, 9) < change(4, 9)


def test_minibatches_are_augmented_alike_whatever_reads_them(flat_release: Path) -> None:
    protocol = load_protocol("digits-lt", ["augment=randaugment", "batches.size=32"])
    images = TrainingImages(
        real_digits(), synthetic_of(flat_release), protocol.images, image_change(protocol)
    )
    order = make_order(protocol.batches, 44, 76, 0, 1, World(0, 2))

    def epoch(workers: int, world: World) -> list[Tensor]:
        batches = training_batches(images, order, epoch=3, seed=1, world=world, workers=workers)
        return [batch.pixels for batch in batches]

    alone = epoch(0, World())
    assert all(torch.equal(a, b) for a, b in zip(alone, epoch(1, World()), strict=True))
    halves = [epoch(0, World(rank, 2)) for rank in (0, 1)]
    for whole, even, odd in zip(alone, *halves, strict=True):
        assert torch.equal(whole[::2], even)
        assert torch.equal(whole[1::2], odd)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_images_and_their_classes_are_mixed_by_one_share(kind: str) -> None:
    mixture = Mixture(load_protocol("digits-lt", [f"augment={kind}"]), 5)
    before = torch.rand(5, 3, 16, 16)
    shares = set()
    for seed in (3, 4, 3):
        inputs, targets = mixture(before.clone(), torch.eye(5), seed)
        share = float(targets[0, 0])
        shares.add(share)
        expected = torch.eye(5) * share + torch.eye(5)[[3, 2, 1, 0, 4]] * (1 - share)
        assert torch.allclose(targets, expected, atol=1e-6)
        # The last of an odd number is not mixed.
        assert torch.equal(inputs[4], before[4])
        if kind == "mixup":
            expected = share * before[:4] + (1 - share) * before[:4].flip(0)
            assert torch.allclose(inputs[:4], expected, atol=1e-6)
        else:
            of_other = (inputs[0] == before[3]).all(dim=0)
            assert float(of_other.float().mean()) == pytest.approx(1 - share, abs=1e-6)
            assert torch.equal(inputs[0][:, ~of_other], before[0][:, ~of_other])
    assert len(shares) == 2
