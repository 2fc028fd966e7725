"""Models in miniature with random weights, in the layout that their repositories on the Hub have.

Files that no pipeline loads lie beside the others, as they do there: half precision, pickles, single files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

import synthkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TOKENIZER = Path(synthkit.__file__).parent / "generators" / "tiny_unclip_digits" / "tokenizer"
# Pixels of an edge for one of the latent's, as in the real models.
FACTOR = 8
EDGE = {"sd15": 32, "sdxl": 48}
# Widths of the text that the U-Nets read: SDXL's is that of two encoders together.
TEXT = {"sd15": 32, "sdxl": 48}
# The vision encoders' hidden size, their projection's, and their tokens: 4x4 patches and the class token.
HIDDEN, PROJECTION, TOKENS = 32, 24, 17
BIG_PROJECTION = 40

_UNET: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
_UNETS: dict[str, dict[str, Any]] = {
    "sd15": _UNET
    | {
        "sample_size": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT["sd15"],
        "attention_head_dim": 4,
    },
    "sdxl": _UNET
    | {
        "sample_size": 6,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "cross_attention_dim": TEXT["sdxl"],
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
    },
}
# The noise that both were trained with.
_NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


def stable_diffusion(folder: Path) -> Path:
    """Stable Diffusion 1.5: images of 32x32, and a safety checker that nobody loads."""
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from transformers import CLIPImageProcessor

    torch.manual_seed(15)
    StableDiffusionPipeline(
        vae=_vae(EDGE["sd15"], scaling_factor=0.18215),
        text_encoder=text_encoder(TEXT["sd15"]),
        tokenizer=tokenizer(),
        unet=_unet("sd15"),
        scheduler=PNDMScheduler(**_NOISE, skip_prk_steps=True, set_alpha_to_one=False),
        safety_checker=None,
        # Not the adapter's encoder's: another size.
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28),
        requires_safety_checker=False,
    ).save_pretrained(folder)
    index = folder / "model_index.json"
    checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | checker, indent=2))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "config.json").write_text("{}")
    save_file({"never.read": torch.zeros(1)}, folder / "safety_checker" / "model.safetensors")
    card(folder, "creativeml-openrail-m")
    return with_other_forms(folder, "v1-5-pruned-emaonly.safetensors")


def stable_diffusion_xl(folder: Path) -> Path:
    """Stable Diffusion XL: images of 48x48, two text encoders, a size that conditions."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    torch.manual_seed(10)
    StableDiffusionXLPipeline(
        vae=_vae(EDGE["sdxl"], scaling_factor=0.13025, force_upcast=True),
        text_encoder=text_encoder(16),
        text_encoder_2=text_encoder(32, projection=32),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=_unet("sdxl"),
        scheduler=EulerDiscreteScheduler(**_NOISE, timestep_spacing="leading"),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    ).save_pretrained(folder)
    # The real file has these as well, which other schedulers than its own read.
    more = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True}
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | more, indent=2))
    card(folder, "openrail++")
    return with_other_forms(folder, "sd_xl_base_1.0.safetensors")


def ip_adapter(folder: Path) -> Path:
    """The repository of adapters for both: plain and plus ones, one of another kind, and two encoders."""
    torch.manual_seed(4)
    encoder(folder / "models" / "image_encoder", PROJECTION)
    encoder(folder / "sdxl_models" / "image_encoder", BIG_PROJECTION)
    for name, tensors in {
        "models/ip-adapter_sd15": _plain("sd15", PROJECTION),
        "models/ip-adapter-plus_sd15": _plus("sd15"),
        "models/ip-adapter-full-face_sd15": _full("sd15"),
        "sdxl_models/ip-adapter_sdxl": _plain("sdxl", BIG_PROJECTION),
        "sdxl_models/ip-adapter_sdxl_vit-h": _plain("sdxl", PROJECTION),
        "sdxl_models/ip-adapter-plus_sdxl_vit-h": _plus("sdxl"),
    }.items():
        save_file(
            {key: value.half().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors"
        )
        (folder / f"{name}.bin").write_bytes(b"a pickle")
    card(folder, "apache-2.0")
    return folder


def lightning(folder: Path) -> Path:
    """The repository of SDXL-Lightning: other weights of SDXL's U-Net, each number of steps in a file."""
    torch.manual_seed(41)
    folder.mkdir()
    weights = {name: value.half() for name, value in _unet("sdxl").state_dict().items()}
    save_file(weights, folder / "sdxl_lightning_4step_unet.safetensors")
    (folder / "sdxl_lightning_4step_lora.safetensors").write_bytes(b"never read")
    card(folder, "openrail++")
    return folder


def consistent(base: Path, folder: Path) -> Path:
    """Stable Diffusion 1.5 distilled to latent consistency: its UNet reads the scale of guidance."""
    shutil.copytree(base, folder)
    torch.manual_seed(16)
    _unet("sd15", time_cond_proj_dim=8).save_pretrained(folder / "unet")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "LCMScheduler"}))
    index = folder / "model_index.json"
    scheduler = {"scheduler": ["diffusers", "LCMScheduler"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | scheduler))
    return folder


def encoder(folder: Path, projection: int) -> Path:
    """A CLIP vision model; where it is another's, no configuration of its images lies beside it."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=projection,
    )
    CLIPVisionModelWithProjection(config).half().save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    return folder


def _unet(kind: str, **more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(**_UNETS[kind], **more)
    for name, parameter in unet.named_parameters():
        if name.endswith("attn2.to_v.weight"):
            # So that the text shows in an image of two steps.
            parameter.data *= 4
    return unet


def _vae(edge: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=edge,
        **more,
    )
    # So that pixels differ from each other, and few are black or white.
    vae.decoder.conv_out.weight.data *= 1.5
    return vae


def text_encoder(width: int, projection: int | None = None) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=600,
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=598,
        eos_token_id=599,
        pad_token_id=599,
        projection_dim=projection or width,
        # Larger than the default, so that every token shows.
        initializer_range=0.2,
    )
    return CLIPTextModelWithProjection(config) if projection else CLIPTextModel(config)


def tokenizer() -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(TOKENIZER)


def _plain(kind: str, projection: int) -> dict[str, Tensor]:
    """Four tokens of a projected embedding."""
    width = TEXT[kind]
    return {
        "image_proj.proj.weight": torch.randn(4 * width, projection) / projection**0.5,
        "image_proj.proj.bias": torch.randn(4 * width) / 10,
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
        **dict(_attention(kind)),
    }


def _plus(kind: str) -> dict[str, Tensor]:
    """Sixteen tokens that a resampler of four layers makes of those of an image."""
    inner = 64
    tensors = {"image_proj.latents": torch.randn(1, 16, inner) / inner**0.5}
    for name, out, into in (("proj_in", inner, HIDDEN), ("proj_out", TEXT[kind], inner)):
        tensors |= {f"{name}.weight": torch.randn(out, into) / into**0.5, f"{name}.bias": torch.zeros(out)}
    tensors |= dict(_norm("norm_out", TEXT[kind]))
    for layer in range(4):
        attention, feed = f"layers.{layer}.0", f"layers.{layer}.1"
        tensors |= dict(_norm(f"{attention}.norm1", inner)) | dict(_norm(f"{attention}.norm2", inner))
        tensors |= dict(_norm(f"{feed}.0", inner))
        for name, out, into in (
            (f"{attention}.to_q", inner, inner),
            (f"{attention}.to_kv", 2 * inner, inner),
            (f"{attention}.to_out", inner, inner),
            (f"{feed}.1", 4 * inner, inner),
            (f"{feed}.3", inner, 4 * inner),
        ):
            tensors[f"{name}.weight"] = torch.randn(out, into) / into**0.5
    named = {
        name if name.startswith("image_proj.") else f"image_proj.{name}": value
        for name, value in tensors.items()
    }
    return named | dict(_attention(kind))


def _full(kind: str) -> dict[str, Tensor]:
    """Of a kind that synthkit does not run: all tokens of an image, projected one by one."""
    width = TEXT[kind]
    return {
        "image_proj.proj.0.weight": torch.randn(HIDDEN, HIDDEN),
        "image_proj.proj.0.bias": torch.randn(HIDDEN),
        "image_proj.proj.2.weight": torch.randn(width, HIDDEN),
        "image_proj.proj.2.bias": torch.randn(width),
        "image_proj.proj.3.weight": torch.ones(width),
        "image_proj.proj.3.bias": torch.ones(width),
        **dict(_attention(kind)),
    }


def _norm(name: str, width: int) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.ones(width)
    yield f"{name}.bias", torch.zeros(width)


def _attention(kind: str) -> Iterator[tuple[str, Tensor]]:
    """Keys and values of each cross attention, numbered as in the real files: 1, 3, 5 …"""
    unet = _unet(kind)
    widths = [attention.inner_dim for name, attention in unet.named_modules() if name.endswith("attn2")]
    for number, width in enumerate(widths):
        for part in ("to_k_ip", "to_v_ip"):
            weight = torch.randn(width, TEXT[kind]) / TEXT[kind] ** 0.5
            yield f"ip_adapter.{2 * number + 1}.{part}.weight", weight


def card(folder: Path, license: str) -> None:
    (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n# A model in miniature\n")


def with_other_forms(folder: Path, single_file: str) -> Path:
    """Put beside the weights what else a repository has; none of it can be loaded."""
    save_file({"all.in.one": torch.zeros(1)}, folder / single_file)
    for weights in list(folder.glob("*/*.safetensors")):
        weights.with_suffix(".fp16.safetensors").write_bytes(b"half precision")
        weights.with_suffix(".bin").write_bytes(b"a pickle")
    return folder
