"""The two CLIP towers: what a prompt says and what an image shows, in one space.

The image tower's embedding is what the pipeline is conditioned on. It must tell one zero from
another, yet not hold every pixel, or the diffusion model would only copy its conditioning image. So it
learns from three tasks: match the prompt of its class, match another augmentation of the same image
(and no other image's), and, lightly, recover a blurred image.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from pretraining.tiny_unclip.augment import to_model_range
from pretraining.tiny_unclip.training import Progress, descend, optimizer_and_schedule

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.prompts import Language
    from pretraining.tiny_unclip.world import Views, World

EMBEDDING = 128
TEXT_WIDTH = 64
BATCH = 96
PEAK_RATE = 1e-3
SIMILARITY_SCALE = 12.0  # of cosines, before the softmax over classes
INSTANCE_SCALE = 6.0  # of cosines, before the softmax over the batch's images
CROP_WEIGHT, INSTANCE_WEIGHT, SIZE_WEIGHT = 0.4, 0.4, 0.1
BLURRED_SIDE = 8


class Towers(NamedTuple):
    """The text tower, the image tower, and the map from pooled text to the image's space."""

    text: CLIPTextModel
    image: CLIPVisionModelWithProjection
    text_projection: nn.Linear


def build_towers(tokenizer: CLIPTokenizer) -> Towers:
    """Untrained towers: text 2 layers of 64, images 4 layers of 64 over 4x4 patches of 8 pixels."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=EMBEDDING,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    image = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=EMBEDDING,
    )
    projection = nn.Linear(TEXT_WIDTH, EMBEDDING, bias=False)
    return Towers(CLIPTextModel(text), CLIPVisionModelWithProjection(image), projection)


def train_towers(world: World, tokenizer: CLIPTokenizer, generator: torch.Generator) -> Towers:
    """Trains both towers on drawn pictures and drawn prompts."""
    towers, steps = build_towers(tokenizer), world.settings.tower_steps
    restore = nn.Linear(EMBEDDING, world.channels * BLURRED_SIDE**2)
    modules = nn.ModuleList([*towers, restore]).train()
    optimizer, schedule = optimizer_and_schedule(modules.parameters(), PEAK_RATE, steps, weight_decay=0.05)
    rng = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    progress = Progress("towers", steps)
    for step in range(steps):
        views, ids = world.views(BATCH, generator), _prompt_ids(world.language, tokenizer, rng)
        losses = _losses(towers, restore, views, ids, world.settings.blur_weight)
        total = torch.stack(list(losses.values())).sum()
        descend(total, optimizer, schedule, modules.parameters())
        progress.report(step, **losses)
    modules.eval().requires_grad_(False)
    return towers


def _losses(
    towers: Towers, restore: nn.Linear, batch: Views, prompt_ids: Tensor, blur_weight: float
) -> dict[str, Tensor]:
    n = len(batch.labels)
    views = torch.cat([batch.first, batch.second])
    embeddings = towers.image(to_model_range(torch.cat([views, batch.crops]))).image_embeds
    directions = F.normalize(embeddings, dim=1)
    classes = F.normalize(towers.text_projection(towers.text(prompt_ids).pooler_output), dim=1)
    logits = SIMILARITY_SCALE * directions @ classes.T
    target = F.adaptive_avg_pool2d(views, BLURRED_SIDE).flatten(1)
    losses = {"class": F.cross_entropy(logits[: 2 * n], batch.labels.repeat(2))}
    if len(batch.crops):
        of_crops = F.cross_entropy(logits[2 * n :], batch.labels[: len(batch.crops)])
        losses["crop"] = CROP_WEIGHT * of_crops
    return losses | {
        "instance": INSTANCE_WEIGHT * _instance_loss(directions[:n], directions[n : 2 * n]),
        "blur": blur_weight * F.mse_loss(restore(embeddings[: 2 * n]), target),
        "size": SIZE_WEIGHT * (embeddings.square().mean(dim=1) - 1).square().mean(),
    }


def _instance_loss(first: Tensor, second: Tensor) -> Tensor:
    """NT-Xent (Chen et al. 2020): each view finds the other view of its image in the batch."""
    both = torch.cat([first, second])
    logits = INSTANCE_SCALE * both @ both.T
    logits.fill_diagonal_(-1e4)
    partner = torch.arange(len(both)).roll(len(first))
    return F.cross_entropy(logits, partner)


def _prompt_ids(language: Language, tokenizer: CLIPTokenizer, rng: random.Random) -> Tensor:
    """One drawn prompt of each class: (classes, 32) token ids."""
    return token_ids(tokenizer, [language.draw(label, rng) for label in range(len(language.names))])


def token_ids(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Prompts as the pipeline tokenizes them: padded and truncated to (N, 32) ids."""
    ids: Tensor = tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return ids


@torch.no_grad()
def embed_images(tower: CLIPVisionModelWithProjection, images: Tensor, batch: int = 512) -> Tensor:
    """Return the embeddings (N, 128) of images (N, C, 32, 32) in [0, 1]."""
    return torch.cat([tower(to_model_range(part)).image_embeds for part in torch.split(images, batch)])


@torch.no_grad()
def embed_prompts(tower: CLIPTextModel, tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """Return the hidden states (N, 32, 64) that the diffusion model attends to."""
    hidden: Tensor = tower(token_ids(tokenizer, prompts)).last_hidden_state
    return hidden
