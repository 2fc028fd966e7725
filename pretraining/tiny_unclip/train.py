"""Runs the three stages of a world, and saves the pipeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from pretraining.tiny_unclip import export
from pretraining.tiny_unclip.autoencoder import reconstruction_psnr, train_autoencoder
from pretraining.tiny_unclip.prompts import build_tokenizer
from pretraining.tiny_unclip.towers import train_towers
from pretraining.tiny_unclip.unet import build_normalizer, train_unet

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from pretraining.tiny_unclip.world import World


def train(world: World, folder: Path, seed: int) -> None:
    """All three stages, each from its own seed, so that a stage does not depend on another's draws."""
    torch.set_num_threads(world.settings.threads)
    torch.use_deterministic_algorithms(True)
    vae = train_autoencoder(world, _seeded(seed))
    decibels = reconstruction_psnr(vae, world.held_out())
    print(f"autoencoder: {decibels:.1f} dB on held-out pictures, digest {digest(vae)}", flush=True)
    tokenizer = build_tokenizer(world.language)
    towers = train_towers(world, tokenizer, _seeded(seed + 1))
    print(f"towers: digests {digest(towers.image)} and {digest(towers.text)}", flush=True)
    generator = _seeded(seed + 2)
    conditions = world.conditions(vae, towers, tokenizer, generator)
    normalizer = build_normalizer(conditions.embeddings)
    unet = train_unet(conditions, normalizer, generator, world.settings.unet_steps)
    print(f"unet: digest {digest(unet)}", flush=True)
    export.save(export.assemble(vae, towers, tokenizer, unet, normalizer), folder)


def _seeded(seed: int) -> torch.Generator:
    """Seeds the initial weights (the global generator) and returns the generator of a stage's draws."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def digest(module: nn.Module) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 over all weights."""
    hashed = hashlib.sha256()
    for value in module.state_dict().values():
        hashed.update(value.contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]
