"""FLUX.1-schnell and FLUX.1 Redux in miniature with random weights, in the layout of their repositories."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

from tests.helpers.miniature_models import card, text_encoder, tokenizer, with_other_forms

# Tokens of an image, and their numbers; pixels of an edge of an image that takes little time.
TOKENS, SIZE = 16, 24
SMALL = 32
# Numbers of a token of text.
_WIDTH = 32


def schnell(folder: Path, *, guidance: bool = False) -> Path:
    """The repository of FLUX.1-schnell; with guidance, its transformer is FLUX.1-dev's."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )

    torch.manual_seed(1)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    vae.decoder.conv_out.weight.data *= 1.5
    transformer = FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=_WIDTH,
        pooled_projection_dim=_WIDTH,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance,
    )
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=vae,
        text_encoder=text_encoder(_WIDTH),
        tokenizer=tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
        transformer=transformer,
    ).save_pretrained(folder)
    card(folder, "apache-2.0")
    return with_other_forms(folder, "flux1-schnell.safetensors")


def redux(folder: Path) -> Path:
    """The repository of FLUX.1 Redux: an image encoder, its image processor, and the network after it."""
    from diffusers import FluxPriorReduxPipeline
    from diffusers.pipelines.flux import ReduxImageEncoder
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(2)
    vision = SiglipVisionConfig(
        hidden_size=SIZE,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
    )
    network = ReduxImageEncoder(redux_dim=SIZE, txt_in_features=_WIDTH)
    # So that sixteen tokens show beside 256 of text.
    network.redux_down.weight.data *= 30
    FluxPriorReduxPipeline(
        image_encoder=SiglipVisionModel(vision),
        feature_extractor=SiglipImageProcessor(size={"height": 56, "width": 56}),
        image_embedder=network,
    ).save_pretrained(folder)
    card(folder, "flux-1-dev-non-commercial-license")
    return with_other_forms(folder, "flux1-redux-dev.safetensors")


def _t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=128,
        d_model=_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config)


def _t5_tokenizer() -> Any:
    """One token a letter."""
    from transformers import T5TokenizerFast

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    letters = [(letter, -3.0) for letter in string.ascii_letters + string.digits]
    return T5TokenizerFast(vocab=[*special, *letters], extra_ids=0, model_max_length=512)
