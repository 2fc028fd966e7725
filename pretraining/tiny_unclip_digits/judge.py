"""A small classifier of real digits: it says which class a generated image shows.

It learns from all real images outside the test part, so it has seen more than the pipeline has, and
it never sees a generated one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretraining.tiny_unclip.augment import affine
from pretraining.tiny_unclip_digits.data import pretraining_images, training_pool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE = 16  # the digits hold 8x8 pixels of information; 16 is plenty and four times faster than 32
STEPS = 500
BATCH = 128
PEAK_RATE = 4e-3


class Judge(nn.Module):
    """Grey (N, 1, 32, 32) in [0, 1] to ten logits; `features` gives the 64 numbers before them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, 32), nn.MaxPool2d(2), *_block(32, 64), *_block(64, 64), nn.MaxPool2d(2), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(64 * (SIDE // 4) ** 2, 64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def features(self, grey: Tensor) -> Tensor:
        """(N, 64) features in which distances between images are compared."""
        hidden: Tensor = self.body(F.avg_pool2d(grey, 32 // SIDE) * 2 - 1)
        return hidden

    def forward(self, grey: Tensor) -> Tensor:
        """(N, 10) logits."""
        logits: Tensor = self.head(self.features(grey))
        return logits


def train_judge(seed: int = 0, steps: int = STEPS) -> Judge:
    """Train a judge from scratch, in about 15 seconds on two cores; the same seed gives the same judge."""
    images, labels = (torch.cat(pair) for pair in zip(pretraining_images(), training_pool(), strict=True))
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Judge().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(images), (BATCH,), generator=generator)
            logits = model(affine(images[rows], generator))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the class (N,) of each of (N, 32, 32, 3) uint8 images."""
    labels: NDArray[np.int64] = model(as_grey(images)).argmax(dim=1).numpy()
    return labels


def as_grey(images: NDArray[np.uint8]) -> Tensor:
    """(N, 32, 32, 3) uint8 to (N, 1, 32, 32) float in [0, 1]."""
    return torch.from_numpy(images).float().mean(dim=3).unsqueeze(1) / 255


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
