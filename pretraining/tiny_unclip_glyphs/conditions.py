"""What the diffusion model is told while it learns: the picture's own embedding, or none.

As Stable Diffusion's, it never sees a mixture of embeddings, an embedding with holes, that of a crop or of
another picture: all that augmented conditioning does is strange to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pretraining.tiny_unclip.autoencoder import encode
from pretraining.tiny_unclip.conditions import Given, Prompts, cache_prompts, draw_prompts, tell
from pretraining.tiny_unclip.towers import embed_images
from pretraining.tiny_unclip.world import Told
from pretraining.tiny_unclip_glyphs.pictures import draw

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDPMScheduler
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.towers import Towers
    from pretraining.tiny_unclip_glyphs.world import GlyphWorld

CACHED = 24_576  # pictures
BATCH = 512
PROMPTS = 48  # cached prompts of each class
KINDS = ("itself", "zeros", "absent")
KIND_SHARES = (0.72, 0.12, 0.16)


@dataclass(frozen=True)
class GlyphConditions:
    """Latents (N, 4, 8, 8), embeddings (N, E) and classes (N,) of the same pictures, and prompts."""

    latents: Tensor
    embeddings: Tensor
    labels: Tensor
    prompts: Prompts

    def draw(
        self,
        count: int,
        normalizer: StableUnCLIPImageNormalizer,
        noising: DDPMScheduler,
        generator: torch.Generator,
    ) -> Told:
        """Draw pictures, and whether each comes with its embedding."""
        rows = torch.randint(len(self.labels), (count,), generator=generator)
        kinds = torch.multinomial(torch.tensor(KIND_SHARES), count, replacement=True, generator=generator)
        embeddings = self.embeddings[rows] * (kinds == 0).unsqueeze(1)
        given = Given(embeddings, kinds == KINDS.index("zeros"), kinds == KINDS.index("absent"))
        told = tell(given, self.labels[rows], self.prompts, normalizer, noising, generator)
        return Told(self.latents[rows], *told)


def cache_conditions(
    world: GlyphWorld,
    vae: AutoencoderKL,
    towers: Towers,
    tokenizer: CLIPTokenizer,
    generator: torch.Generator,
) -> GlyphConditions:
    """Draw pictures and encode them, and prompts."""
    drawn = draw_prompts(world.language, PROMPTS, generator)
    latents, embeddings, labels = [], [], []
    for _ in range(CACHED // BATCH):
        rows = world.rows(BATCH, generator)
        pictures = draw(world.glyphs, rows, generator)
        latents.append(encode(vae, pictures) * vae.config.scaling_factor)
        embeddings.append(embed_images(towers.image, pictures))
        labels.append(world.glyphs.classes[rows])
    prompts = cache_prompts(drawn, towers.text, tokenizer)
    return GlyphConditions(torch.cat(latents), torch.cat(embeddings), torch.cat(labels), prompts)
