"""What the diffusion model is told while it learns: prompts and image embeddings, in known mixtures.

The mixtures below decide how loosely the model follows the embedding: seeing only the embedding of the very
image it must draw, it would learn to copy; seeing also relatives, holes and nothing, it learns that
the embedding is a hint, the prompt is the subject, and the seed decides the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pretraining.tiny_unclip.augment import affine, random_crops
from pretraining.tiny_unclip.autoencoder import encode
from pretraining.tiny_unclip.conditions import Given, Prompts, cache_prompts, draw_prompts, tell
from pretraining.tiny_unclip.towers import embed_images
from pretraining.tiny_unclip.world import Told
from pretraining.tiny_unclip_digits.data import rows_by_class

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDPMScheduler
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.towers import Towers
    from pretraining.tiny_unclip_digits.world import DigitWorld

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


@dataclass(frozen=True)
class DigitConditions:
    """Cached latents and embeddings of augmented images, and prompts; all tensors float32.

    `latents` is (V, N, 4, 8, 8) of the same augmented images as `views` (V, N, E); `crops` is (C, N, E),
    `relatives` the positions of each class's images.
    """

    latents: Tensor
    views: Tensor
    crops: Tensor
    prompts: Prompts
    labels: Tensor
    relatives: list[Tensor]

    @property
    def embeddings(self) -> Tensor:
        """Those of all augmented images, (V * N, E)."""
        return self.views.flatten(0, 1)

    def draw(
        self,
        count: int,
        normalizer: StableUnCLIPImageNormalizer,
        noising: DDPMScheduler,
        generator: torch.Generator,
    ) -> Told:
        """Draw augmented images, and what accompanies them."""
        views = torch.randint(len(self.views), (count,), generator=generator)
        rows = torch.randint(len(self.labels), (count,), generator=generator)
        kinds = torch.multinomial(torch.tensor(KIND_SHARES), count, replacement=True, generator=generator)
        embeddings = _with_holes(self._draw_embeddings(views, rows, kinds, generator), generator)
        given = Given(embeddings, kinds == ZEROS, kinds == ABSENT)
        told = tell(given, self.labels[rows], self.prompts, normalizer, noising, generator)
        return Told(self.latents[views, rows], *told)

    def _draw_embeddings(
        self, views: Tensor, rows: Tensor, kinds: Tensor, generator: torch.Generator
    ) -> Tensor:
        n, cached = len(rows), len(self.views)
        labels = self.labels[rows].tolist()
        others = torch.stack([_pick(self.relatives[label], generator) for label in labels])
        again = self.views[torch.randint(cached, (n,), generator=generator), rows]
        other = self.views[torch.randint(cached, (n,), generator=generator), others]
        crop = self.crops[torch.randint(len(self.crops), (n,), generator=generator), rows]
        share = torch.rand(n, 1, generator=generator)
        mixture = share * again + (1 - share) * other
        nothing = torch.zeros_like(again)
        choices = torch.stack([self.views[views, rows], again, other, mixture, crop, nothing, nothing])
        return choices[kinds, torch.arange(n)]


def cache_conditions(
    world: DigitWorld,
    vae: AutoencoderKL,
    towers: Towers,
    tokenizer: CLIPTokenizer,
    generator: torch.Generator,
) -> DigitConditions:
    """Encode what training draws from."""
    drawn = draw_prompts(world.language, PROMPTS, generator)
    views = [affine(world.images, generator, VIEW_STRENGTH) for _ in range(VIEWS)]
    crops = [random_crops(world.images, generator) for _ in range(CROPS)]
    return DigitConditions(
        latents=torch.stack([encode(vae, view) for view in views]) * vae.config.scaling_factor,
        views=torch.stack([embed_images(towers.image, view) for view in views]),
        crops=torch.stack([embed_images(towers.image, crop) for crop in crops]),
        prompts=cache_prompts(drawn, towers.text, tokenizer),
        labels=world.labels,
        relatives=rows_by_class(world.labels),
    )


def _with_holes(embeddings: Tensor, generator: torch.Generator) -> Tensor:
    n = len(embeddings)
    share = MAX_HOLES * torch.rand(n, 1, generator=generator)
    share[torch.rand(n, generator=generator) >= HOLES_SHARE] = 0
    return embeddings * (torch.rand(embeddings.shape, generator=generator) >= share)


def _pick(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (), generator=generator)]
