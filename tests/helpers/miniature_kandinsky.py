"""Kandinsky 2.2 in miniature with random weights: the decoder's repository, and that of the prior.

They have the layout of the real ones: the image encoder lies in the prior's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.helpers.miniature_models import card, text_encoder, tokenizer, with_other_forms

# Pixels of an edge of the images, and numbers of an embedding.
EDGE, SIZE = 64, 40
# The noise that Kandinsky was trained with, and how far its latents may reach: as far as most of them do.
NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": True,
    "clip_sample_range": 2.0,
    "thresholding": True,
    "sample_max_value": None,
}


def decoder(folder: Path, size: int = SIZE) -> Path:
    """The decoder of embeddings of a size, whose scheduler draws by the variance that the UNet predicts."""
    from diffusers import DDPMScheduler, KandinskyV22Pipeline, UNet2DConditionModel, VQModel

    torch.manual_seed(22)
    unet = UNet2DConditionModel(
        sample_size=EDGE // 8,
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        encoder_hid_dim=size,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=size,
        attention_head_dim=4,
        norm_num_groups=4,
        resnet_time_scale_shift="scale_shift",
    )
    movq = VQModel(
        block_out_channels=[32] * 4,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    scheduler = DDPMScheduler(**NOISE, variance_type="learned_range")
    KandinskyV22Pipeline(unet=unet, scheduler=scheduler, movq=movq).save_pretrained(folder)
    card(folder, "apache-2.0")
    return with_other_forms(folder, "decoder_fp16.safetensors")


def prior(folder: Path) -> Path:
    """The repository of the prior, whose image encoder and image processor the decoder's images need."""
    from diffusers import KandinskyV22PriorPipeline, PriorTransformer, UnCLIPScheduler
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(23)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=SIZE,
    )
    KandinskyV22PriorPipeline(
        prior=PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=SIZE, num_embeddings=32
        ),
        image_encoder=CLIPVisionModelWithProjection(vision),
        text_encoder=text_encoder(SIZE, projection=SIZE),
        tokenizer=tokenizer(),
        scheduler=UnCLIPScheduler(),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 56}, crop_size=56),
    ).save_pretrained(folder)
    card(folder, "apache-2.0")
    return with_other_forms(folder, "prior_fp16.safetensors")
