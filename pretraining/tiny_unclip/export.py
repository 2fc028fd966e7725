"""Puts the trained parts together as a diffusers folder: half precision, safetensors only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import transformers
from diffusers import DDPMScheduler, StableUnCLIPImg2ImgPipeline
from diffusers.utils import logging
from transformers import CLIPImageProcessor

from pretraining.tiny_unclip.unet import build_noising, build_scheduler

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import CLIPTokenizer

    from pretraining.tiny_unclip.towers import Towers


def build_feature_extractor() -> CLIPImageProcessor:
    """Resizes to 32 pixels and scales to [-1, 1], as the image tower was trained."""
    return CLIPImageProcessor(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def assemble(
    vae: AutoencoderKL,
    towers: Towers,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
    normalizer: StableUnCLIPImageNormalizer,
) -> StableUnCLIPImg2ImgPipeline:
    """Return the pipeline of the trained parts, as it will be saved."""
    noising: DDPMScheduler = build_noising()
    return StableUnCLIPImg2ImgPipeline(
        feature_extractor=build_feature_extractor(),
        image_encoder=towers.image,
        image_normalizer=normalizer,
        image_noising_scheduler=noising,
        tokenizer=tokenizer,
        text_encoder=towers.text,
        unet=unet,
        scheduler=build_scheduler(),
        vae=vae,
    )


def save(pipeline: StableUnCLIPImg2ImgPipeline, folder: Path) -> None:
    """Write the folder in float16; nothing in it depends on where or when it was written."""
    quiet()
    for name in ("image_encoder", "image_normalizer", "text_encoder", "unet", "vae"):
        for parameter in getattr(pipeline, name).parameters():
            parameter.data = parameter.data.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # the writer leaves them readable by their owner only


def load(folder: Path) -> StableUnCLIPImg2ImgPipeline:
    """Return the pipeline in float32 on the CPU, silent and offline, with the scheduler it was saved with."""
    quiet()
    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def quiet() -> None:
    """No progress bars while files are read or written."""
    logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
