"""The world of handwritten digits: augmented images of one part of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pretraining.tiny_unclip.augment import affine, random_crops
from pretraining.tiny_unclip.world import Settings, Views
from pretraining.tiny_unclip_digits.conditions import DigitConditions, cache_conditions
from pretraining.tiny_unclip_digits.data import as_tensors, pretraining_images
from pretraining.tiny_unclip_digits.prompts import LANGUAGE
from synthkit.sources.digits import DigitsSource

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.prompts import Language
    from pretraining.tiny_unclip.towers import Towers

SETTINGS = Settings()


@dataclass(frozen=True)
class DigitWorld:
    """Grey images (N, 1, 32, 32) and their classes (N,)."""

    images: Tensor
    labels: Tensor
    settings: Settings = SETTINGS
    language: Language = LANGUAGE
    channels: int = 1

    @classmethod
    def of_pretraining_part(cls) -> DigitWorld:
        """Return the only images that the pipeline may see."""
        return cls(*pretraining_images())

    def pictures(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw augmented images (N, 1, 32, 32)."""
        rows = torch.randint(len(self.images), (count,), generator=generator)
        return affine(self.images[rows], generator)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Return every image, augmented once."""
        return affine(self.images, generator)

    def views(self, count: int, generator: torch.Generator) -> Views:
        """Draw images, each augmented twice; half of them are cropped as well."""
        rows = torch.randperm(len(self.images), generator=generator)[:count]
        images = self.images[rows]
        first, second = affine(images, generator), affine(images, generator)
        return Views(first, second, self.labels[rows], random_crops(images[: count // 2], generator))

    def held_out(self) -> Tensor:
        """Return the images of the test part."""
        return as_tensors(DigitsSource("test"))[0]

    def conditions(
        self, vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer, generator: torch.Generator
    ) -> DigitConditions:
        """Encode augmented images, crops and prompts for the diffusion stage."""
        return cache_conditions(self, vae, towers, tokenizer, generator)
