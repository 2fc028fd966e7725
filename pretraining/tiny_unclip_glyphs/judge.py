"""A small classifier of digits in colour: it says which digit a generated image shows, whatever its style.

It learns from drawn pictures of digits, and from real digits outside the test part that are painted like
these. It never sees a generated image, and no model learns from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretraining.tiny_unclip.augment import affine
from pretraining.tiny_unclip_digits.data import pretraining_images, training_pool
from pretraining.tiny_unclip_glyphs.glyphs import DIGITS, SIDE, Glyphs
from pretraining.tiny_unclip_glyphs.pictures import draw, paint

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Batch = Callable[[torch.Generator], tuple[Tensor, Tensor]]

STEPS, BATCH = 900, 128
PEAK_RATE = 4e-3


def train_judge(glyphs: Glyphs, seed: int = 0, steps: int = STEPS) -> nn.Module:
    """Train a judge from scratch, in about two minutes on two cores; the same seed gives the same judge."""
    real, labels = (torch.cat(pair) for pair in zip(pretraining_images(), training_pool(), strict=True))
    digits = torch.nonzero(glyphs.classes < DIGITS).flatten()

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        half = BATCH // 2
        rows = digits[torch.randint(len(digits), (half,), generator=generator)]
        of_real = torch.randint(len(real), (half,), generator=generator)
        masks = F.interpolate(affine(real[of_real], generator), size=SIDE, mode="bilinear")
        pictures = torch.cat([draw(glyphs, rows, generator), paint(masks, generator, plain_share=0.6)])
        return pictures, torch.cat([glyphs.classes[rows], labels[of_real]])

    return fit(batch, seed, steps)


def train_on(images: NDArray[np.uint8], labels: Tensor, seed: int = 0, steps: int = 300) -> nn.Module:
    """Train the same network on (N, 32, 32, 3) uint8 images alone, turned and shifted a little."""
    pictures = as_pictures(images)

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(pictures), (BATCH // 2,), generator=generator)
        return affine(pictures[rows], generator, outside="border"), labels[rows]

    return fit(batch, seed, steps)


def fit(batch: Batch, seed: int, steps: int) -> nn.Module:
    """Train a network on drawn batches."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _network().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
        for _ in range(steps):
            pictures, labels = batch(generator)
            loss = F.cross_entropy(model(pictures), labels, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.uint8]) -> Tensor:
    """Return the class (N,) of each of (N, 32, 32, 3) uint8 images."""
    parts = [model(part).argmax(dim=1) for part in torch.split(as_pictures(images), 256)]
    return torch.cat(parts)


def as_pictures(images: NDArray[np.uint8]) -> Tensor:
    """(N, 32, 32, 3) uint8 to (N, 3, 32, 32) float in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _network() -> nn.Sequential:
    return nn.Sequential(
        *_block(3, 24), nn.MaxPool2d(2), *_block(24, 48), nn.MaxPool2d(2), *_block(48, 64), *_block(64, 64),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, 64), nn.ReLU(),
        nn.Linear(64, DIGITS),
    )  # fmt: skip


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
