"""The digits as tensors, and the two families of augmentation the models are trained with."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource

MAX_ROTATION = math.radians(12)
MAX_SHIFT = 2 * 2 / 32  # two pixels, in the [-1, 1] units of `affine_grid` (the image is 32 wide)
MAX_SCALING = 0.12
CROP_AREA = (0.08, 1.0)  # torchvision's RandomResizedCrop
CROP_RATIO = (3 / 4, 4 / 3)


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


def affine(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Each image turned (±12°), shifted (±2 px) and scaled (±12 %) at random, black outside."""
    n = len(images)
    angle = _uniform(n, -MAX_ROTATION, MAX_ROTATION, generator) * strength
    scale_x, scale_y = (1 + _uniform(n, -MAX_SCALING, MAX_SCALING, generator) * strength for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x, shift_y = (_uniform(n, -MAX_SHIFT, MAX_SHIFT, generator) * strength for _ in range(2))
    theta = torch.stack(
        [cos * scale_x, -sin * scale_y, shift_x, sin * scale_x, cos * scale_y, shift_y], dim=1
    )
    return _resample(images, theta.view(n, 2, 3))


def random_crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random resized crop of each image, as torchvision draws them, shrunk back to 32 pixels."""
    n = len(images)
    area = _uniform(n, *CROP_AREA, generator)
    ratio = torch.exp(_uniform(n, math.log(CROP_RATIO[0]), math.log(CROP_RATIO[1]), generator))
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    x = (1 - width) * _uniform(n, -1.0, 1.0, generator)
    y = (1 - height) * _uniform(n, -1.0, 1.0, generator)
    zero = torch.zeros(n)
    theta = torch.stack([width, zero, x, zero, height, y], dim=1)
    return _resample(images, theta.view(n, 2, 3))


def to_model_range(images: Tensor) -> Tensor:
    """Grey [0, 1] to what both encoders take: three equal channels in [-1, 1]."""
    return (images * 2 - 1).expand(-1, 3, -1, -1)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _resample(images: Tensor, theta: Tensor) -> Tensor:
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
