"""The digits as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource


def pretraining_images() -> tuple[Tensor, Tensor]:
    """Return the only images the pipeline may see: (897, 1, 32, 32) grey in [0, 1], and labels (897,)."""
    return as_tensors(DigitsSource("pretrain"))


def training_pool() -> tuple[Tensor, Tensor]:
    """Return the 600 images that the long-tailed training part is taken from, for the judge alone."""
    return as_tensors(DigitsSource("train", max_per_class=60, imbalance_factor=1.0))


def as_tensors(source: DigitsSource) -> tuple[Tensor, Tensor]:
    """Every image of a part as (N, 1, 32, 32) in [0, 1] and its labels (N,) int64."""
    images = [np.asarray(load_image(source, i).convert("L")) for i in range(len(source.listing))]
    pixels = torch.from_numpy(np.stack(images)).unsqueeze(1).float() / 255
    return pixels, torch.from_numpy(np.asarray(source.listing.labels)).long()


def rows_by_class(labels: Tensor) -> list[Tensor]:
    """For each class, the positions of its images."""
    return [torch.nonzero(labels == label).flatten() for label in range(len(CLASSES))]
