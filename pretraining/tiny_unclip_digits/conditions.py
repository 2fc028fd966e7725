"""What the diffusion model is told while it learns: prompts and image embeddings, in known mixtures.

At inference the class vector is `[embedding, noise level as sinusoids]` of 2E numbers, and the
unconditional branch gets 2E zeros (see `StableUnCLIPImg2ImgPipeline.noise_image_embeddings`). The
mixtures below decide how loosely the model follows the embedding: seeing only the embedding of the very
image it must draw, it would learn to copy; seeing also relatives, holes and nothing, it learns that
the embedding is a hint, the prompt is the subject, and the seed decides the rest.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from pretraining.tiny_unclip_digits.autoencoder import encode
from pretraining.tiny_unclip_digits.clip import embed_images, embed_prompts
from pretraining.tiny_unclip_digits.data import affine, random_crops, rows_by_class
from pretraining.tiny_unclip_digits.prompts import draw_prompt
from synthkit.sources.digits import CLASSES

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDPMScheduler
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip_digits.clip import Towers

VIEWS = 32  # cached augmentations of each image: the targets, and what they are conditioned on
VIEW_STRENGTH = 0.7  # of the augmentation the towers saw: closer to how real digits vary
CROPS = 8  # cached crops of each image
PROMPTS = 96  # cached prompts of each class

# Whose embedding accompanies the augmented image to draw: its own, that of another augmentation of the
# image, of another image of the class, a mixture of the last two, of a crop; or zeros, or nothing.
KINDS = ("itself", "same image", "same class", "mixture", "crop", "zeros", "absent")
KIND_SHARES = (0.16, 0.32, 0.08, 0.08, 0.08, 0.12, 0.16)
ZEROS, ABSENT = KINDS.index("zeros"), KINDS.index("absent")
HOLES_SHARE, MAX_HOLES = 0.25, 0.6  # how often, and up to which share, coordinates are zeroed
NO_PROMPT_SHARE = 0.12  # when an embedding is given
NO_PROMPT_IF_ABSENT = 0.6  # the unconditional branch of guidance has neither
NOISE_LEVEL_0_SHARE = 0.6


@dataclass(frozen=True)
class Conditions:
    """Cached latents and embeddings of augmented images, and prompts; all tensors float32.

    `latents` is (V, N, 4, 8, 8) of the same augmented images as `views` (V, N, E); `crops` is (C, N, E),
    `prompts` (10, P, 32, 64), `no_prompt` (32, 64), `relatives` the positions of each class's images.
    """

    latents: Tensor
    views: Tensor
    crops: Tensor
    prompts: Tensor
    no_prompt: Tensor
    labels: Tensor
    relatives: list[Tensor]


def cache_conditions(
    images: Tensor,
    labels: Tensor,
    vae: AutoencoderKL,
    towers: Towers,
    tokenizer: CLIPTokenizer,
    generator: torch.Generator,
) -> Conditions:
    """Encode what training draws from, once, because autoencoder and towers are frozen by now."""
    rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    prompts = [[draw_prompt(label, rng) for _ in range(PROMPTS)] for label in range(len(CLASSES))]
    views = [affine(images, generator, VIEW_STRENGTH) for _ in range(VIEWS)]
    crops = [random_crops(images, generator) for _ in range(CROPS)]
    return Conditions(
        latents=torch.stack([encode(vae, view) for view in views]) * vae.config.scaling_factor,
        views=torch.stack([embed_images(towers.image, view) for view in views]),
        crops=torch.stack([embed_images(towers.image, crop) for crop in crops]),
        prompts=torch.stack([embed_prompts(towers.text, tokenizer, of_class) for of_class in prompts]),
        no_prompt=embed_prompts(towers.text, tokenizer, [""])[0],
        labels=labels,
        relatives=rows_by_class(labels),
    )


def draw_conditions(
    cache: Conditions,
    views: Tensor,
    rows: Tensor,
    normalizer: StableUnCLIPImageNormalizer,
    noising: DDPMScheduler,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the hidden states (B, 32, 64) and class vectors (B, 2E) that condition certain images.

    These are the augmentations `views` (B,) of the images `rows` (B,).
    """
    kinds = torch.multinomial(torch.tensor(KIND_SHARES), len(rows), replacement=True, generator=generator)
    embeddings = _with_holes(_draw_embeddings(cache, views, rows, kinds, generator), generator)
    vectors = class_vectors(embeddings, normalizer, noising, _noise_levels(len(rows), generator), generator)
    absent = kinds == ABSENT
    vectors[absent] = 0
    hidden = cache.prompts[cache.labels[rows], torch.randint(PROMPTS, (len(rows),), generator=generator)]
    chance = torch.where(absent, NO_PROMPT_IF_ABSENT, NO_PROMPT_SHARE)
    chance[kinds == ZEROS] /= 4
    silent = torch.rand(len(rows), generator=generator) < chance
    hidden[silent] = cache.no_prompt
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


def _draw_embeddings(
    cache: Conditions, views: Tensor, rows: Tensor, kinds: Tensor, generator: torch.Generator
) -> Tensor:
    n = len(rows)
    others = torch.stack([_pick(cache.relatives[label], generator) for label in cache.labels[rows].tolist()])
    again = cache.views[torch.randint(VIEWS, (n,), generator=generator), rows]
    other = cache.views[torch.randint(VIEWS, (n,), generator=generator), others]
    crop = cache.crops[torch.randint(CROPS, (n,), generator=generator), rows]
    share = torch.rand(n, 1, generator=generator)
    mixture = share * again + (1 - share) * other
    nothing = torch.zeros_like(again)
    choices = torch.stack([cache.views[views, rows], again, other, mixture, crop, nothing, nothing])
    return choices[kinds, torch.arange(n)]


def _with_holes(embeddings: Tensor, generator: torch.Generator) -> Tensor:
    n = len(embeddings)
    share = MAX_HOLES * torch.rand(n, 1, generator=generator)
    share[torch.rand(n, generator=generator) >= HOLES_SHARE] = 0
    return embeddings * (torch.rand(embeddings.shape, generator=generator) >= share)


def _noise_levels(n: int, generator: torch.Generator) -> Tensor:
    levels = torch.randint(1000, (n,), generator=generator)
    levels[torch.rand(n, generator=generator) < NOISE_LEVEL_0_SHARE] = 0
    return levels


def _pick(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (), generator=generator)]
