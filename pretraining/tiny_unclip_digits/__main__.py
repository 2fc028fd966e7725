"""Trains the pipeline, saves it, measures it, writes its card: `python -m pretraining.tiny_unclip_digits`."""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pretraining.tiny_unclip_digits import export
from pretraining.tiny_unclip_digits.autoencoder import reconstruction_psnr, train_autoencoder
from pretraining.tiny_unclip_digits.card import write_card
from pretraining.tiny_unclip_digits.check import as_lines, measure
from pretraining.tiny_unclip_digits.clip import train_towers
from pretraining.tiny_unclip_digits.conditions import cache_conditions
from pretraining.tiny_unclip_digits.data import as_tensors, pretraining_images
from pretraining.tiny_unclip_digits.prompts import build_tokenizer
from pretraining.tiny_unclip_digits.unet import build_normalizer, train_unet
from synthkit.sources.digits import DigitsSource

if TYPE_CHECKING:
    from torch import nn

THREADS = 2  # part of what decides the bytes: sums are split over threads


def train(folder: Path, seed: int) -> None:
    """All three stages, each from its own seed, so that a stage does not depend on another's draws."""
    images, labels = pretraining_images()
    vae = train_autoencoder(images, _seeded(seed))
    decibels = reconstruction_psnr(vae, as_tensors(DigitsSource("test"))[0])
    print(f"autoencoder: {decibels:.1f} dB on the test part, digest {_digest(vae)}", flush=True)
    tokenizer = build_tokenizer()
    towers = train_towers(images, labels, tokenizer, _seeded(seed + 1))
    print(f"towers: digests {_digest(towers.image)} and {_digest(towers.text)}", flush=True)
    generator = _seeded(seed + 2)
    conditions = cache_conditions(images, labels, vae, towers, tokenizer, generator)
    normalizer = build_normalizer(conditions.views.flatten(0, 1))
    unet = train_unet(conditions, normalizer, generator)
    print(f"unet: digest {_digest(unet)}", flush=True)
    export.save(export.assemble(vae, towers, tokenizer, unet, normalizer), folder)


def _seeded(seed: int) -> torch.Generator:
    """Seeds the initial weights (the global generator) and returns the generator of a stage's draws."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for value in module.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded digits pipeline.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    start = time.perf_counter()
    train(options.out, options.seed)
    minutes = (time.perf_counter() - start) / 60
    print(f"trained in {minutes:.1f} minutes; measuring", flush=True)
    report = measure(options.out)
    write_card(options.out, report, minutes)
    print("\n".join(as_lines(report)))


if __name__ == "__main__":
    main()
