"""The world of glyphs: pictures drawn anew for each batch, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pretraining.tiny_unclip.augment import affine
from pretraining.tiny_unclip.prompts import Language
from pretraining.tiny_unclip.world import Settings, Views
from pretraining.tiny_unclip_glyphs.conditions import GlyphConditions, cache_conditions
from pretraining.tiny_unclip_glyphs.glyphs import DIGITS, NAMES, Glyphs
from pretraining.tiny_unclip_glyphs.pictures import draw

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.towers import Towers

TEMPLATES = (
    "{}",
    "a {}",
    "the {}",
    "a picture of {}",
    "a picture of a {}",
    "a photo of {}",
    "a photo of a {}",
    "a photo of the {}",
    "an image of a {}",
    "a drawing of a {}",
    "a printed {}",
    "a sign with a {}",
)
# Of digits alone: a letter is no number.
LANGUAGE = Language(NAMES, TEMPLATES)
SETTINGS = Settings(
    autoencoder_steps=1600,
    autoencoder_groups=4,
    tower_steps=4000,
    unet_steps=3000,
    threads=1,
    blur_weight=4.0,
)
DIGIT_SHARE = 0.6  # of the pictures; the others show letters
TOWER_PLAIN_SHARE = 0.5  # the towers see more plain pictures: shapes are learnt sooner without colours
SAMPLE = 2048
HELD_OUT_SEED = 10**6


@dataclass(frozen=True)
class GlyphWorld:
    """Pictures of rendered glyphs in colour; a package of fonts is as frequent as any other."""

    glyphs: Glyphs
    settings: Settings = SETTINGS
    language: Language = LANGUAGE
    channels: int = 3
    _chances: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_chances", _chances(self.glyphs))

    def rows(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw glyphs (N,)."""
        return torch.multinomial(self._chances, count, replacement=True, generator=generator)

    def pictures(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw pictures (N, 3, 32, 32)."""
        return draw(self.glyphs, self.rows(count, generator), generator)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw the pictures that the scale of the latents is measured on."""
        return self.pictures(SAMPLE, generator)

    def held_out(self) -> Tensor:
        """Draw pictures from a generator of their own: no stage sees the same ones again."""
        return self.pictures(SAMPLE // 4, torch.Generator().manual_seed(HELD_OUT_SEED))

    def views(self, count: int, generator: torch.Generator) -> Views:
        """Draw pictures twice turned, shifted and scaled. No crops: to the towers they are strange."""
        rows = self.rows(count, generator)
        pictures = draw(self.glyphs, rows, generator, TOWER_PLAIN_SHARE)
        first, second = (affine(pictures, generator, outside="border") for _ in range(2))
        return Views(first, second, self.glyphs.classes[rows], pictures[:0])

    def conditions(
        self, vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer, generator: torch.Generator
    ) -> GlyphConditions:
        """Encode pictures and prompts for the diffusion stage."""
        return cache_conditions(self, vae, towers, tokenizer, generator)


def _chances(glyphs: Glyphs) -> Tensor:
    """Return the chance of each glyph: digits have their share, in each kind every package the same."""
    is_digit = glyphs.classes < DIGITS
    of_package = torch.bincount(glyphs.packages * 2 + is_digit, minlength=2).float()
    share = torch.where(is_digit, DIGIT_SHARE, 1 - DIGIT_SHARE)
    return share / of_package[glyphs.packages * 2 + is_digit]
