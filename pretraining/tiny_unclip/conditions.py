"""What a diffusion model is told beside the latents: hidden states of prompts, and class vectors.

At inference the class vector is `[embedding, noise level as sinusoids]` of 2E numbers, and the
unconditional branch gets 2E zeros (see `StableUnCLIPImg2ImgPipeline.noise_image_embeddings`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from pretraining.tiny_unclip.towers import embed_prompts

if TYPE_CHECKING:
    from diffusers import DDPMScheduler
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import CLIPTextModel, CLIPTokenizer

    from pretraining.tiny_unclip.prompts import Language

NO_PROMPT_SHARE = 0.12  # when an embedding is given
NO_PROMPT_IF_ABSENT = 0.6  # the unconditional branch of guidance has neither
NOISE_LEVEL_0_SHARE = 0.6


class Prompts(NamedTuple):
    """Hidden states of drawn prompts (classes, P, 32, 64), and of the empty prompt (32, 64)."""

    of_class: Tensor
    none: Tensor


class Given(NamedTuple):
    """Embeddings (N, E); which of them are zeros, as in text-only generation, and which are absent (N,)."""

    embeddings: Tensor
    zeros: Tensor
    absent: Tensor


def draw_prompts(language: Language, count: int, generator: torch.Generator) -> list[list[str]]:
    """Return `count` prompts of each class."""
    rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    return [[language.draw(label, rng) for _ in range(count)] for label in range(len(language.names))]


def cache_prompts(drawn: list[list[str]], tower: CLIPTextModel, tokenizer: CLIPTokenizer) -> Prompts:
    """Encode drawn prompts, and the empty one."""
    of_class = torch.stack([embed_prompts(tower, tokenizer, prompts) for prompts in drawn])
    return Prompts(of_class, embed_prompts(tower, tokenizer, [""])[0])


def tell(
    given: Given,
    labels: Tensor,
    prompts: Prompts,
    normalizer: StableUnCLIPImageNormalizer,
    noising: DDPMScheduler,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return hidden states (N, 32, 64) and class vectors (N, 2E) for pictures of classes `labels` (N,)."""
    n = len(labels)
    vectors = class_vectors(given.embeddings, normalizer, noising, _noise_levels(n, generator), generator)
    vectors[given.absent] = 0
    per_class = prompts.of_class.shape[1]
    hidden = prompts.of_class[labels, torch.randint(per_class, (n,), generator=generator)]
    chance = torch.where(given.absent, NO_PROMPT_IF_ABSENT, NO_PROMPT_SHARE)
    chance[given.zeros] /= 4
    silent = torch.rand(n, generator=generator) < chance
    hidden[silent] = prompts.none
    return hidden, vectors


@torch.no_grad()
def class_vectors(
    embeddings: Tensor,
    normalizer: StableUnCLIPImageNormalizer,
    noising: DDPMScheduler,
    levels: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """(B, E) embeddings to (B, 2E) class vectors, as the pipeline makes them at noise levels (B,)."""
    noise = torch.randn(embeddings.shape, generator=generator)
    noised = noising.add_noise(normalizer.scale(embeddings), timesteps=levels, noise=noise)
    sinusoids = get_timestep_embedding(
        levels, embeddings.shape[1], flip_sin_to_cos=True, downscale_freq_shift=0
    )
    return torch.cat([normalizer.unscale(noised), sinusoids], dim=1)


def _noise_levels(n: int, generator: torch.Generator) -> Tensor:
    levels = torch.randint(1000, (n,), generator=generator)
    levels[torch.rand(n, generator=generator) < NOISE_LEVEL_0_SHARE] = 0
    return levels
