"""The diffusion model, trained with v-prediction on cached latents."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, PNDMScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
from torch import Tensor

from pretraining.tiny_unclip.towers import EMBEDDING, TEXT_WIDTH
from pretraining.tiny_unclip.training import Progress, descend, optimizer_and_schedule

if TYPE_CHECKING:
    from pretraining.tiny_unclip.world import Conditions, Told

BATCH = 64
PEAK_RATE = 1.2e-3
EMA_DECAY = 0.999
TIMESTEPS = 1000


def build_unet() -> UNet2DConditionModel:
    """Return an untrained model: 64 channels at 8x8, 96 at 4x4 with attention to the prompt."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * EMBEDDING,
    )


def build_scheduler() -> PNDMScheduler:
    """Return the scheduler of the exported pipeline; its alphas are also those of training."""
    return PNDMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        skip_prk_steps=True,
        steps_offset=1,
    )


def build_noising() -> DDPMScheduler:
    """How noise levels act on image embeddings: the schedule of Stable unCLIP."""
    return DDPMScheduler(num_train_timesteps=TIMESTEPS, beta_schedule="squaredcos_cap_v2")


def build_normalizer(embeddings: Tensor) -> StableUnCLIPImageNormalizer:
    """Return the mean and deviation of each coordinate over real embeddings (N, E)."""
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=embeddings.shape[1])
    normalizer.requires_grad_(False)
    normalizer.mean.copy_(embeddings.mean(dim=0, keepdim=True))
    normalizer.std.copy_(embeddings.std(dim=0, keepdim=True))
    return normalizer


def train_unet(
    conditions: Conditions,
    normalizer: StableUnCLIPImageNormalizer,
    generator: torch.Generator,
    steps: int,
) -> UNet2DConditionModel:
    """Trains on the cached latents; returns the exponential average of the weights."""
    model = build_unet().train()
    average = deepcopy(model).eval().requires_grad_(False)
    schedules = DDPMScheduler.from_config(build_scheduler().config), build_noising()
    optimizer, schedule = optimizer_and_schedule(model.parameters(), PEAK_RATE, steps)
    progress = Progress("unet", steps)
    for step in range(steps):
        told = conditions.draw(BATCH, normalizer, schedules[1], generator)
        loss = _velocity_loss(model, schedules[0], told, generator)
        descend(loss, optimizer, schedule, model.parameters())
        _move_average(average, model, min(EMA_DECAY, (1 + step) / (10 + step)))
        progress.report(step, loss=loss)
    return average


def _velocity_loss(
    model: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    told: Told,
    generator: torch.Generator,
) -> Tensor:
    noise = torch.randn(told.latents.shape, generator=generator)
    timesteps = torch.randint(TIMESTEPS, (len(noise),), generator=generator)
    noised = scheduler.add_noise(told.latents, noise, timesteps)
    predicted = model(noised, timesteps, encoder_hidden_states=told.hidden, class_labels=told.vectors).sample
    return F.mse_loss(predicted, scheduler.get_velocity(told.latents, noise, timesteps))


@torch.no_grad()
def _move_average(average: UNet2DConditionModel, model: UNet2DConditionModel, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
