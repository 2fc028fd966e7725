"""The two families of augmentation that the models are trained with."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_ROTATION = math.radians(12)
MAX_SHIFT = 2 * 2 / 32  # two pixels, in the [-1, 1] units of `affine_grid` (the image is 32 wide)
MAX_SCALING = 0.12
CROP_AREA = (0.08, 1.0)  # torchvision's RandomResizedCrop
CROP_RATIO = (3 / 4, 4 / 3)

Outside = Literal["zeros", "border"]


def affine(
    images: Tensor, generator: torch.Generator, strength: float = 1.0, outside: Outside = "zeros"
) -> Tensor:
    """Each image turned (±12°), shifted (±2 px) and scaled (±12 %) at random, black or border outside."""
    n = len(images)
    angle = _uniform(n, -MAX_ROTATION, MAX_ROTATION, generator) * strength
    scale_x, scale_y = (1 + _uniform(n, -MAX_SCALING, MAX_SCALING, generator) * strength for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    shift_x, shift_y = (_uniform(n, -MAX_SHIFT, MAX_SHIFT, generator) * strength for _ in range(2))
    theta = torch.stack(
        [cos * scale_x, -sin * scale_y, shift_x, sin * scale_x, cos * scale_y, shift_y], dim=1
    )
    return _resample(images, theta.view(n, 2, 3), outside)


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
    return _resample(images, theta.view(n, 2, 3), "zeros")


def to_model_range(images: Tensor) -> Tensor:
    """Grey or colour in [0, 1] to what both encoders take: three channels in [-1, 1]."""
    return (images * 2 - 1).expand(-1, 3, -1, -1)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _resample(images: Tensor, theta: Tensor, outside: Outside) -> Tensor:
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)
