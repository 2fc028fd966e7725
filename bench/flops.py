"""Floating-point operations of an image, for every family of generators at full size.

    python bench/flops.py [--json FILE] [--cache] [--write]

Nothing is computed and no weight is made: networks of the published architectures stand on PyTorch's meta
device, and a counter adds up the operations of one evaluation of the denoiser and of one decoding. A multiply
and an add count as two. Left out, since they are less than two per cent: the text encoders, the image encoder
(which runs once for a real image), the few tokens that an adapter adds.

`TFLOP/image` is what a recipe's steps and guidance cost: with guidance the denoiser runs on two rows for each
image. `s at 400 TFLOP/s` is what a device takes that reaches that rate, as one H200 did with Stable unCLIP
(bench/README.md); another network may reach less of a device's rate. The architectures are written down from
what is published of them; the number of parameters shows whether they are right.

`--write` counts each network at three sizes and writes what it takes at any size to the file that
`synthkit plan` and scores read, synthkit/generators/operations.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from diffusers import (  # noqa: TID253
    AutoencoderKL,
    FluxTransformer2DModel,
    UNet2DConditionModel,
    VQModel,
)
from torch import Tensor  # noqa: TID253
from torch.utils.flop_counter import FlopCounterMode  # noqa: TID253
from unclip_model import EMBEDDED, FULL

from synthkit.generators import operations
from synthkit.generators.step_cache import StepCache

_RATE = 400.0
_VAE: dict[str, Any] = FULL.vae
_SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_KANDINSKY: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 8,
    "block_out_channels": (384, 768, 1152, 1536),
    "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
    "layers_per_block": 3,
    "attention_head_dim": 64,
    "cross_attention_dim": 768,
    "encoder_hid_dim": 1280,
    "encoder_hid_dim_type": "image_proj",
    "addition_embed_type": "image",
    "resnet_time_scale_shift": "scale_shift",
}
_MOVQ: dict[str, Any] = {
    "block_out_channels": (128, 256, 256, 512),
    "down_block_types": (*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_type": "spatial",
    "num_vq_embeddings": 16384,
    "vq_embed_dim": 4,
}


@dataclass(frozen=True)
class Family:
    """A denoiser with the arguments that one row of a batch gives it, and a decoder of latents.

    `channels` are those of the latents, of which one stands for `factor` pixels of an edge.
    """

    denoiser: Callable[[], Any]
    arguments: Callable[[int, int], dict[str, Any]]
    decoder: Callable[[], Any]
    channels: int = 4
    factor: int = 8


@dataclass(frozen=True)
class Way:
    """One way to make images: a family at an edge in pixels, so many evaluations, guided or not."""

    name: str
    family: Family
    edge: int
    evaluations: int
    guided: bool


def _unet(**config: Any) -> Callable[[], Any]:
    return lambda: UNet2DConditionModel(**config)


def _latents(rows: int, edge: int, channels: int = 4, factor: int = 8) -> Tensor:
    return torch.empty(rows, channels, edge // factor, edge // factor)


def _of_unet(width: int, **more: Callable[[int], Any]) -> Callable[[int, int], dict[str, Any]]:
    """Return the arguments of a UNet that reads 77 tokens of a width, besides `more` for a number of rows."""

    def arguments(rows: int, edge: int) -> dict[str, Any]:
        return {
            "sample": _latents(rows, edge),
            "timestep": torch.empty(1),
            "encoder_hidden_states": torch.empty(rows, 77, width),
            **{name: value(rows) for name, value in more.items()},
        }

    return arguments


def _of_flux(rows: int, edge: int) -> dict[str, Any]:
    """Return the arguments of FLUX: 256 tokens of text, 729 of an image, and the latents in 2x2 patches."""
    text, patches = 256 + 729, (edge // 16) ** 2
    return {
        "hidden_states": torch.empty(rows, patches, 64),
        "encoder_hidden_states": torch.empty(rows, text, 4096),
        "pooled_projections": torch.empty(rows, 768),
        "timestep": torch.empty(rows),
        "img_ids": torch.empty(patches, 3),
        "txt_ids": torch.empty(text, 3),
    }


UNCLIP = Family(
    _unet(**FULL.unet),
    _of_unet(1024, class_labels=lambda rows: torch.empty(rows, 2048)),
    lambda: AutoencoderKL(**_VAE),
)
SD15 = Family(_unet(cross_attention_dim=768), _of_unet(768), lambda: AutoencoderKL(**_VAE))
SDXL = Family(
    _unet(**_SDXL),
    _of_unet(
        2048,
        added_cond_kwargs=lambda rows: {
            "text_embeds": torch.empty(rows, 1280),
            "time_ids": torch.empty(rows, 6),
        },
    ),
    lambda: AutoencoderKL(**_VAE),
)
KANDINSKY = Family(
    _unet(**_KANDINSKY),
    lambda rows, edge: {
        "sample": _latents(rows, edge),
        "timestep": torch.empty(1),
        "encoder_hidden_states": None,
        "added_cond_kwargs": {"image_embeds": torch.empty(rows, 1280)},
    },
    lambda: VQModel(**_MOVQ),
)
FLUX = Family(
    lambda: FluxTransformer2DModel(guidance_embeds=False),
    _of_flux,
    lambda: AutoencoderKL(**{**_VAE, "latent_channels": 16}),
    16,
)
_TINY, _TINY_TEXT, _TINY_VAE = (
    json.loads((EMBEDDED / part / "config.json").read_text()) for part in ("unet", "text_encoder", "vae")
)
_TINY_TOKENS = _TINY_TEXT["max_position_embeddings"]
TINY = Family(
    lambda: UNet2DConditionModel.from_config(_TINY),
    lambda rows, edge: {
        "sample": _latents(rows, edge, factor=4),
        "timestep": torch.empty(1),
        "encoder_hidden_states": torch.empty(rows, _TINY_TOKENS, _TINY["cross_attention_dim"]),
        "class_labels": torch.empty(rows, _TINY["projection_class_embeddings_input_dim"]),
    },
    lambda: AutoencoderKL.from_config(_TINY_VAE),
    factor=4,
)


@dataclass(frozen=True)
class Known:
    """A network whose operations are written down: its repositories, and its own edge in pixels.

    It is counted at its own edge, at half of it and at twice that.
    """

    name: str
    family: Family
    pipeline: str
    models: tuple[str, ...]
    edge: int
    halves: bool = True


_UNCLIP, _XL = "StableUnCLIPImg2ImgPipeline", "StableDiffusionXLPipeline"
KNOWN = [
    Known(
        "Stable unCLIP 2.1",
        UNCLIP,
        _UNCLIP,
        (
            "radames/stable-diffusion-2-1-unclip-img2img",
            "stabilityai/stable-diffusion-2-1-unclip",
            "sd2-community/stable-diffusion-2-1-unclip",
        ),
        768,
    ),
    Known(
        "Stable Diffusion 1.5",
        SD15,
        "StableDiffusionPipeline",
        ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
        512,
    ),
    Known("SDXL", SDXL, _XL, ("stabilityai/stable-diffusion-xl-base-1.0",), 1024),
    Known(
        "Kandinsky 2.2",
        KANDINSKY,
        "KandinskyV22Pipeline",
        ("kandinsky-community/kandinsky-2-2-decoder",),
        512,
    ),
    Known("FLUX.1-schnell", FLUX, "FluxPipeline", ("black-forest-labs/FLUX.1-schnell",), 1024, halves=False),
    Known(
        "the embedded models",
        TINY,
        _UNCLIP,
        ("builtin:tiny-unclip-digits", "builtin:tiny-unclip-glyphs"),
        32,
    ),
]
# PNDM evaluates once more than it has steps.
WAYS = [
    Way("Stable unCLIP 2.1, pndm 30", UNCLIP, 768, 31, guided=True),
    Way("Stable unCLIP 2.1, pndm 30", UNCLIP, 512, 31, guided=True),
    Way("SD 1.5 + IP-Adapter, pndm 30", SD15, 512, 31, guided=True),
    Way("SDXL + IP-Adapter, euler 30", SDXL, 1024, 30, guided=True),
    Way("SDXL-Lightning + IP-Adapter, 4 steps", SDXL, 1024, 4, guided=False),
    Way("SDXL-Lightning + IP-Adapter, 4 steps", SDXL, 512, 4, guided=False),
    Way("Kandinsky 2.2, ddpm 25", KANDINSKY, 512, 25, guided=True),
    Way("Kandinsky 2.2, ddpm 25", KANDINSKY, 768, 25, guided=True),
    Way("FLUX.1-schnell + Redux, 4 steps", FLUX, 1024, 4, guided=False),
    Way("FLUX.1-schnell + Redux, 4 steps", FLUX, 512, 4, guided=False),
]


def counted(network: Any, call: Callable[[], Any]) -> float:
    """Return the tera-operations of a call of a network."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops() / 1e12


def measure(way: Way) -> dict[str, Any]:
    """Return the operations of an image made in a way, in tera, and the denoiser's parameters in billions."""
    with torch.device("meta"):
        denoiser, decoder = way.family.denoiser().eval(), way.family.decoder().eval()
        step = counted(denoiser, lambda: denoiser(**way.family.arguments(1 + way.guided, way.edge)))
        decoding = decoding_of(decoder, way.family, way.edge)
    image = way.evaluations * step + decoding
    return {
        "way": way.name,
        "edge": way.edge,
        "parameters_billions": sum(weight.numel() for weight in denoiser.parameters()) / 1e9,
        "evaluation": step,
        "decoding": decoding,
        "image": image,
        "seconds": image / _RATE,
    }


def decoding_of(decoder: Any, family: Family, edge: int) -> float:
    """Return the tera-operations of decoding an image."""
    latents = _latents(1, edge, family.channels, family.factor)
    given = {"force_not_quantize": True} if isinstance(decoder, VQModel) else {}
    return counted(decoder, lambda: decoder.decode(latents, **given))


def outer_shares(way: Way) -> list[float]:
    """Return what evaluations of one outer level, of two … take of a whole one (`sampler.cache`)."""
    with torch.device("meta"):
        unet, arguments = way.family.denoiser().eval(), way.family.arguments(1 + way.guided, way.edge)
        whole = counted(unet, lambda: unet(**arguments))
        return [outer / whole for outer in outer_levels(unet, arguments)]


def outer_levels(unet: Any, arguments: dict[str, Any]) -> list[float]:
    """Return the tera-operations of an evaluation of one outer level, of two … ; none of a transformer."""
    found = []
    for levels in range(1, len(getattr(unet, "down_blocks", ()))):
        evaluate = StepCache(unet, levels, lambda forward: forward).begin(2)
        _, outer = (counted(unet, partial(evaluate, arguments)) for _ in range(2))
        found.append(outer)
    return found


def written(known: Known) -> dict[str, Any]:
    """Return the entry of a network: what a row takes, as polynomials of a million pixels."""
    edges = [known.edge // 2, known.edge, 2 * known.edge]
    whole, outer, decoding = [], [], []
    with torch.device("meta"):
        denoiser, decoder = known.family.denoiser().eval(), known.family.decoder().eval()
        for edge in edges:
            arguments = known.family.arguments(1, edge)
            whole.append(counted(denoiser, lambda given=arguments: denoiser(**given)))
            outer.append(outer_levels(denoiser, arguments))
            decoding.append(decoding_of(decoder, known.family, edge))
    return {
        "name": known.name,
        "models": known.models,
        "shape": {"_class_name": type(denoiser).__name__, **shape_of(denoiser)},
        "pipeline": known.pipeline,
        "edge": known.edge,
        "halves": known.halves,
        "evaluation": polynomial(edges, whole),
        "outer": [polynomial(edges, level) for level in zip(*outer, strict=True)],
        "decoding": polynomial(edges, decoding),
    }


def shape_of(denoiser: Any) -> dict[str, Any]:
    """Return what of a denoiser's configuration distinguishes it, as JSON gives it back."""
    config = json.loads(json.dumps(dict(denoiser.config), default=str))
    return {name: config.get(name) for name in operations.SHAPE if name != "_class_name"}


def polynomial(edges: Sequence[int], operations: Sequence[float]) -> list[float]:
    """Return the constant, the linear and the square part of operations at three edges."""
    pixels = [edge * edge / 1e6 for edge in edges]
    square, linear, constant = np.linalg.solve(np.vander(pixels), operations)
    # Less than a millionth of the whole is a rounding error.
    least = 1e-6 * operations[1]
    return [float(f"{part:.6g}") if abs(part) > least else 0.0 for part in (constant, linear, square)]


def print_outer_shares() -> None:
    """Print a row for each way that has a UNet, without those that differ in steps alone."""
    for way in {(way.family, way.edge): way for way in WAYS if way.family is not FLUX}.values():
        shares = ", ".join(f"levels {level}: {share:.1%}" for level, share in enumerate(outer_shares(way), 1))
        print(f"{way.name.partition(',')[0]:38} {way.edge:5} {shares}", flush=True)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--cache", action="store_true", help="print what sampler.cache leaves, and no more")
    parser.add_argument("--write", action="store_true", help="write operations.json, and no more")
    options = parser.parse_args()
    if options.write:
        place = Path(operations.__file__).with_name("operations.json")
        place.write_text(json.dumps([written(known) for known in KNOWN], indent=1) + "\n")
        return
    if options.cache:
        print_outer_shares()
        return
    print(
        f"{'':38} {'edge':>5} {'params':>8} {'TFLOP/evaluation':>17} {'decoding':>9} {'TFLOP/image':>12}",
        end="",
    )
    print(f" {f's at {_RATE:.0f} TFLOP/s':>18}")
    found = []
    for way in WAYS:
        row = measure(way)
        found.append(row)
        print(
            f"{row['way']:38} {row['edge']:5} {row['parameters_billions']:6.2f} B {row['evaluation']:17.2f}"
            f" {row['decoding']:9.2f} {row['image']:12.1f} {row['seconds']:18.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
