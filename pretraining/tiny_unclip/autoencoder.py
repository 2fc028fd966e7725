"""The autoencoder: 32x32 RGB to 4x8x8 latents and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from pretraining.tiny_unclip.augment import to_model_range
from pretraining.tiny_unclip.training import Progress, descend, optimizer_and_schedule

if TYPE_CHECKING:
    from pretraining.tiny_unclip.world import World

BATCH = 32
PEAK_RATE = 2e-3
KL_WEIGHT = 1e-3


def build_autoencoder(groups: int) -> AutoencoderKL:
    """Return an untrained autoencoder with three resolutions (32, 16, 8) and four latent channels.

    Channels are normalised in so many groups. With 16 each channel of the first level is normalised alone,
    which takes the mean colour out of a picture.
    """
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=groups,
        sample_size=32,
    )


def train_autoencoder(world: World, generator: torch.Generator) -> AutoencoderKL:
    """Trains on drawn pictures; the latents' scale goes into the config."""
    settings = world.settings
    model, steps = build_autoencoder(settings.autoencoder_groups).train(), settings.autoencoder_steps
    optimizer, schedule = optimizer_and_schedule(model.parameters(), PEAK_RATE, steps)
    progress = Progress("autoencoder", steps)
    for step in range(steps):
        pixels = to_model_range(world.pictures(BATCH, generator))
        posterior = model.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        restored = model.decode(posterior.mean + posterior.std * noise).sample
        error = F.l1_loss(restored, pixels)
        loss = error + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        descend(loss, optimizer, schedule, model.parameters())
        progress.report(step, l1=error)
    model = model.eval().requires_grad_(False)
    scale = 1 / encode(model, world.sample(generator)).std().item()
    model.register_to_config(scaling_factor=round(scale, 6))
    return model


@torch.no_grad()
def encode(model: AutoencoderKL, images: Tensor, batch: int = 512) -> Tensor:
    """Return the means of the latents (N, 4, 8, 8), unscaled, of images (N, C, 32, 32) in [0, 1]."""
    parts = [model.encode(to_model_range(part)).latent_dist.mean for part in torch.split(images, batch)]
    return torch.cat(parts)


@torch.no_grad()
def reconstruction_psnr(model: AutoencoderKL, images: Tensor) -> float:
    """How well images in [0, 1] survive the autoencoder, in dB."""
    restored = model.decode(encode(model, images)).sample.clamp(-1, 1)
    error = F.mse_loss(restored, to_model_range(images)) / 4  # the range [-1, 1] is twice as wide
    return float(-10 * torch.log10(error))
