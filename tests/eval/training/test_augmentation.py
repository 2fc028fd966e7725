"""Augmentation is that of torchvision, from random numbers that are given to it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as tv

from synthkit_eval.sections.images import ColorJitter, Images
from synthkit_eval.training import augmentation
from synthkit_eval.training.augmentation import COLUMNS, Colours, random_resized_box, training_pixels


def photograph() -> NDArray[np.uint8]:
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([x * 3, y * 4, 255 - (x + y)], axis=2).astype(np.uint8)


def test_random_resized_crops_are_spread_as_torchvisions() -> None:
    uniform = np.random.default_rng(0).random((4000, COLUMNS))
    ours = [random_resized_box(500, 375, (0.08, 1.0), row) for row in uniform]
    assert all(
        b.left >= 0 and b.top >= 0 and b.left + b.width <= 500 and b.top + b.height <= 375 for b in ours
    )
    torch.manual_seed(0)
    blank = torch.empty(3, 375, 500)
    theirs = [RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    for mine, other in (
        ([b.width * b.height for b in ours], [h * w for _, _, h, w in theirs]),
        ([b.width / b.height for b in ours], [w / h for _, _, h, w in theirs]),
        ([b.left for b in ours], [left for _, left, _, _ in theirs]),
    ):
        assert stats.ks_2samp(mine, other).pvalue > 1e-3


def test_colour_jitter_is_torchvisions_up_to_clipping() -> None:
    images = Images(size=60, color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4))
    # Mid tones: nothing is clipped on the way.
    pixels = torch.from_numpy(photograph() // 4 + 90).permute(2, 0, 1)
    uniform = np.random.default_rng(1).random((24, COLUMNS))
    found = Colours(images, "cpu")(pixels.expand(24, -1, -1, -1), uniform)
    changes = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.mean, images.std))
    for row, values in zip(uniform, found, strict=True):
        expected = pixels.float() / 255
        for kind in augmentation._ORDERS[int(row[augmentation._ORDER] * 6)]:
            expected = changes[kind](expected, 0.6 + 0.8 * row[augmentation._FACTORS + kind])
        assert (values * std + mean - expected).abs().max() < 2e-3


def test_pixels_without_jitter_are_normalised() -> None:
    images = Images(size=32)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    expected = tv.normalize(pixels.float() / 255, list(images.mean), list(images.std))
    assert torch.allclose(Colours(images, "cpu")(pixels), expected, atol=1e-6)


def test_padded_crops_flips_and_turns_move_the_image() -> None:
    pixels = torch.from_numpy(np.array(Image.fromarray(photograph()).resize((32, 32)))).permute(2, 0, 1)
    still, row = np.full(COLUMNS, 0.5), np.full(COLUMNS, 0.5)
    padded = Images(size=32, crop="padded", padding=4, flip=True, rotation=15.0)
    # In the middle of every range: not shifted, not mirrored, not turned.
    assert torch.equal(training_pixels(pixels, padded, still), pixels)
    row[augmentation._PLACE : augmentation._PLACE + 2] = 0.0
    shifted = training_pixels(pixels, padded, row)
    assert torch.equal(shifted[:, 4:, 4:], pixels[:, :-4, :-4])
    assert not shifted[:, :4].any()
    mirrored = still.copy()
    mirrored[augmentation._FLIP] = 0.1
    assert torch.equal(training_pixels(pixels, padded, mirrored), pixels.flip(-1))
