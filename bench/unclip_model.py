"""Stable unCLIP 2.1 (ViT-H) with random weights, at full size: the published architecture, no download.

Speed and memory do not depend on the weights. The last layers are scaled so that images are neither
uniform nor clipped, and numerical differences can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from torch import Tensor  # noqa: TID253

import synthkit

EMBEDDED = Path(synthkit.__file__).parent / "generators" / "tiny_unclip_digits"


@dataclass(frozen=True)
class Scale:
    """One architecture: its parts' configurations, and the two edges (in pixels) it is measured at."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    vision: dict[str, Any]
    edges: tuple[int, int]
    numerics_edge: int
    matmul: int

    @property
    def factor(self) -> int:
        """Pixels of an edge for one of the latent's."""
        return 2 ** (len(self.vae["block_out_channels"]) - 1)


FULL = Scale(
    unet={
        "sample_size": 96,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        "layers_per_block": 2,
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 2048,
    },
    vae={
        "sample_size": 768,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    text={
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
    },
    vision={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 1024,
        "hidden_act": "gelu",
    },
    edges=(768, 512),
    numerics_edge=256,
    matmul=8192,
)
TOY = Scale(
    unet={
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": (2, 4),
        "cross_attention_dim": 32,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 64,
    },
    vae={
        "sample_size": 32,
        "block_out_channels": (32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "layers_per_block": 1,
        "latent_channels": 4,
        "scaling_factor": 0.18215,
    },
    text={
        "vocab_size": 600,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
    },
    vision={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": 32,
    },
    edges=(32, 16),
    numerics_edge=16,
    matmul=256,
)


def build(scale: Scale, device: str) -> Any:
    """Make the pipeline in float32 with seeded random weights, on the device."""
    from diffusers import DDPMScheduler, PNDMScheduler, StableUnCLIPImg2ImgPipeline
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTokenizer,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(0)
    edge = scale.vision["image_size"]
    with torch.device(device):
        vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**scale.vision))
        text = CLIPTextModel(
            CLIPTextConfig(**scale.text, eos_token_id=599, bos_token_id=598, pad_token_id=599)
        )
        unet, vae = unet_of(scale), vae_of(scale)
    pipeline = StableUnCLIPImg2ImgPipeline(
        feature_extractor=CLIPImageProcessor(
            size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}
        ),
        image_encoder=vision,
        image_normalizer=StableUnCLIPImageNormalizer(scale.vision["projection_dim"]),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        # The published vocabulary is a download; the words of a prompt change no time.
        tokenizer=CLIPTokenizer.from_pretrained(EMBEDDED / "tokenizer", model_max_length=77),
        text_encoder=text,
        unet=unet,
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
            prediction_type="v_prediction",
        ),
        vae=vae,
    ).to(device)
    for part in (vision, text, unet, vae):
        part.eval().requires_grad_(False)
    _scale_outputs(scale, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def unet_of(scale: Scale) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(in_channels=4, out_channels=4, **scale.unet)


def vae_of(scale: Scale) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(**scale.vae)


@torch.no_grad()
def _scale_outputs(scale: Scale, pipeline: Any) -> None:
    """Scale the outputs to what trained models give: velocities of deviation 1, pixels of 0.4 around grey."""
    edge = scale.numerics_edge // scale.factor
    unet, vae = pipeline.unet, pipeline.vae
    velocity = unet(**unet_inputs(scale, edge, unet.device)).sample
    unet.conv_out.weight /= velocity.std()
    latents = torch.randn(1, 4, edge, edge, device=vae.device) / vae.config.scaling_factor
    pixels = vae.decode(latents).sample
    vae.decoder.conv_out.weight *= 0.4 / pixels.std()
    vae.decoder.conv_out.bias.zero_()


def unet_inputs(scale: Scale, edge: int, device: Any) -> dict[str, Tensor]:
    """One image's evaluation with guidance: a batch of two."""
    return {
        "sample": torch.randn(2, 4, edge, edge, device=device),
        "timestep": torch.tensor(500, device=device),
        "encoder_hidden_states": torch.randn(2, 77, scale.unet["cross_attention_dim"], device=device),
        "class_labels": torch.randn(2, scale.unet["projection_class_embeddings_input_dim"], device=device),
    }


def tera_flops(scale: Scale, edge: int, evaluations: int) -> dict[str, float]:
    """10^12 floating-point operations of an image: of one guided evaluation, of decoding, of all."""
    from torch.utils.flop_counter import FlopCounterMode

    latent = edge // scale.factor
    with torch.device("meta"), torch.no_grad():
        unet, vae = unet_of(scale), vae_of(scale)
        with FlopCounterMode(display=False) as evaluation:
            unet(**unet_inputs(scale, latent, "meta"))
        with FlopCounterMode(display=False) as decoding:
            vae.decode(torch.randn(1, 4, latent, latent))
    step, decode = evaluation.get_total_flops() / 1e12, decoding.get_total_flops() / 1e12
    return {"evaluation": step, "decode": decode, "image": evaluations * step + decode}
