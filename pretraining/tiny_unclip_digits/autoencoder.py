"""The autoencoder: 32x32 RGB to 4x8x8 latents and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from pretraining.tiny_unclip_digits.data import affine, to_model_range
from pretraining.tiny_unclip_digits.training import Progress, descend, optimizer_and_schedule

STEPS = 2000
BATCH = 32
PEAK_RATE = 2e-3
KL_WEIGHT = 1e-3


def build_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder with three resolutions (32, 16, 8) and four latent channels."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=32,
    )


def train_autoencoder(images: Tensor, generator: torch.Generator, steps: int = STEPS) -> AutoencoderKL:
    """Trains on augmented (N, 1, 32, 32) images in [0, 1]; the latents' scale goes into the config."""
    model = build_autoencoder().train()
    optimizer, schedule = optimizer_and_schedule(model.parameters(), PEAK_RATE, steps)
    progress = Progress("autoencoder", steps)
    for step in range(steps):
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        pixels = to_model_range(affine(images[rows], generator))
        posterior = model.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        restored = model.decode(posterior.mean + posterior.std * noise).sample
        error = F.l1_loss(restored, pixels)
        loss = error + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        descend(loss, optimizer, schedule, model.parameters())
        progress.report(step, l1=error)
    model = model.eval().requires_grad_(False)
    scale = 1 / encode(model, affine(images, generator)).std().item()
    model.register_to_config(scaling_factor=round(scale, 6))
    return model


@torch.no_grad()
def encode(model: AutoencoderKL, images: Tensor, batch: int = 512) -> Tensor:
    """Return the means of the latents (N, 4, 8, 8), unscaled, of grey images in [0, 1]."""
    parts = [model.encode(to_model_range(part)).latent_dist.mean for part in torch.split(images, batch)]
    return torch.cat(parts)


@torch.no_grad()
def reconstruction_psnr(model: AutoencoderKL, images: Tensor) -> float:
    """How well images in [0, 1] survive the autoencoder, in dB."""
    restored = model.decode(encode(model, images)).sample.clamp(-1, 1).mean(dim=1, keepdim=True)
    error = F.mse_loss((restored + 1) / 2, images)
    return float(-10 * torch.log10(error))
