"""The sections of augmentations that have settings, each named after its augmentation."""

from __future__ import annotations

from pydantic import Field

from synthkit.config.section import Section

# These mix images, and their classes with them.
MIXING = ("mixup", "cutmix")


class RandAugment(Section):
    """Settings of `augment: randaugment` (Cubuk et al. 2020)."""

    layers: int = Field(2, ge=1, le=14, description="Changes of each image, N in the paper.")
    magnitude: int = Field(9, ge=0, le=10, description="How strong each of them is, M in the paper.")


class Mixing(Section):
    """Settings of `augment: mixup` (Zhang et al. 2018) and `augment: cutmix` (Yun et al. 2019)."""

    alpha: float = Field(
        1.0, gt=0, le=100, description="α of Beta(α, α), from which the share of the first image is drawn."
    )
