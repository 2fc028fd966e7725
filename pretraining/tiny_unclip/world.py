"""What a model learns to draw: the interface between the shared stages and the pictures of one model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from torch import Tensor
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.prompts import Language
    from pretraining.tiny_unclip.towers import Towers


class Views(NamedTuple):
    """A batch for the towers: two augmentations (N, C, 32, 32) of each of N pictures, and classes (N,).

    `crops` (M, C, 32, 32) are of the first M pictures.
    """

    first: Tensor
    second: Tensor
    labels: Tensor
    crops: Tensor


class Told(NamedTuple):
    """A batch for the diffusion model: latents (N, 4, 8, 8) to make, hidden states, class vectors (N, 2E)."""

    latents: Tensor
    hidden: Tensor
    vectors: Tensor


class Conditions(Protocol):
    """Cached latents and embeddings that batches for the diffusion model are drawn from."""

    @property
    def embeddings(self) -> Tensor:
        """All cached embeddings of whole pictures, (N, E)."""

    def draw(
        self,
        count: int,
        normalizer: StableUnCLIPImageNormalizer,
        noising: DDPMScheduler,
        generator: torch.Generator,
    ) -> Told:
        """Draw a batch."""


@dataclass(frozen=True)
class Settings:
    """How long and how strongly each stage learns, on how many threads.

    Threads are part of what decides the bytes: sums are split over them.
    """

    autoencoder_steps: int = 2000
    autoencoder_groups: int = 16
    tower_steps: int = 1100
    unet_steps: int = 2600
    threads: int = 2
    blur_weight: float = 1.0  # of the blurred picture that embeddings must recover


class World(Protocol):
    """The pictures, classes and prompts of one model. Pictures are (N, C, 32, 32) in [0, 1].

    `channels` is C: 1 for grey, 3 for colour.
    """

    @property
    def settings(self) -> Settings:
        """How long each stage learns."""

    @property
    def language(self) -> Language:
        """What the classes are called."""

    @property
    def channels(self) -> int:
        """Of a picture."""

    def pictures(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a batch for the autoencoder."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw the pictures that the scale of the latents is measured on."""

    def views(self, count: int, generator: torch.Generator) -> Views:
        """Draw a batch for the towers."""

    def held_out(self) -> Tensor:
        """Return pictures that no stage learns from."""

    def conditions(
        self, vae: AutoencoderKL, towers: Towers, tokenizer: CLIPTokenizer, generator: torch.Generator
    ) -> Conditions:
        """Encode what the diffusion model learns from, once, because autoencoder and towers are frozen."""
