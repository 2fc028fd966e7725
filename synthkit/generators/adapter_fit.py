"""Which kind of IP-Adapter a file is, and whether it fits a base and an image encoder.

Told from the headers of the weights and from configurations; nothing is loaded.

Source: the adapters of github.com/tencent-ailab/IP-Adapter, and diffusers' loaders/unet.py, which reads them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import GeneratorError
from synthkit.generators.base import component_config
from synthkit.generators.safetensors_header import read_header
from synthkit.recipe.model_content import ADAPTER, UNET, loaded_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from synthkit.generators.safetensors_header import Tensor

_FILE = "model.adapter.file"
# The kinds that synthkit runs: one reads an image's embedding, the other its tokens.
PLAIN = "ip-adapter"
PLUS = "ip-adapter-plus"
# By a tensor of an adapter of another kind: how errors call the kind.
_OTHERS = {
    "image_proj.perceiver_resampler.proj_in.weight": "a FaceID Plus",
    "image_proj.norm.weight": "a FaceID",
    "image_proj.proj.3.weight": "a Full",
}
# The number of tokens that a plain adapter makes of an embedding.
_TOKENS = 4
_ATTENTION = re.compile(r"(down_blocks|up_blocks|mid_block)\.(.*)attn2\.to_k\.weight")
_BLOCKS = ("down_blocks", "up_blocks", "mid_block")
_SCALE = "time_embedding.cond_proj.weight"
_ENCODER = "clip_vision_model"


class Attention(NamedTuple):
    """The cross attention of a network: each layer's width, and the width of the text that it reads."""

    widths: tuple[int, ...]
    text: int

    def __str__(self) -> str:
        return (
            f"{len(self.widths)} layers with {sum(self.widths):,} channels, for text of width {self.text:,}"
        )


def adapter_kind(adapter: Path) -> str:
    """Return PLAIN or PLUS. Raises GeneratorError for a file that is neither."""
    tensors = read_header(adapter, _FILE)
    for tensor, kind in _OTHERS.items():
        if tensor in tensors and not {"image_proj.proj.weight", "image_proj.latents"} & tensors.keys():
            raise GeneratorError(
                f"model.adapter.file: is {kind} IP-Adapter; synthkit runs plain and plus ones"
            )
    if any(re.search(r"lora", name, re.IGNORECASE) for name in tensors):
        raise GeneratorError("model.adapter.file: has a LoRA; synthkit runs plain and plus IP-Adapters")
    if "image_proj.proj.weight" in tensors:
        return PLAIN
    if "image_proj.latents" in tensors:
        return PLUS
    raise GeneratorError(
        "model.adapter.file: is no adapter that synthkit runs; take a plain IP-Adapter or a plus one, as "
        "models/ip-adapter_sd15.safetensors of h94/IP-Adapter"
    )


def check_fit(folder: Path, kind: str) -> None:
    """Raise GeneratorError if the adapter in a folder does not fit the UNet, or the encoder the adapter.

    The folder is laid out as a family loads it; `kind` is the adapter's.
    """
    adapter = read_header(folder / loaded_path(ADAPTER, ADAPTER), _FILE)
    unet = _attention_of_unet(folder / UNET)
    _check_unet(folder, unet)
    _check_base(_attention_of_adapter(adapter), unet)
    _check_encoder(folder, adapter, kind)


def _check_unet(folder: Path, unet: Attention) -> None:
    """Raise GeneratorError for weights of another UNet than that of the base's configuration."""
    if not [*(folder / UNET).glob("*.safetensors")]:
        raise GeneratorError("model.id: has no weights of its UNet in safetensors; get all of its files")
    if not unet.widths:
        raise GeneratorError(
            "model.unet: has no weights of a UNet by the names that diffusers gives them; a LoRA and a whole "
            "model in one file are of no use here: name a file as sdxl_lightning_4step_unet.safetensors"
        )
    config = component_config(folder, UNET)
    if config.get("time_cond_proj_dim") is None and _reads_scale(folder / UNET):
        raise GeneratorError(
            "model.unet: has weights of a UNet that reads the scale of guidance, and the base's does not, so "
            "it would be loaded without them; name as model.id a model that has this UNet, without model.unet"
        )
    reads = config.get("cross_attention_dim")
    if reads != unet.text:
        raise GeneratorError(
            f"model.unet: has weights for text of width {unet.text:,}, the base's UNet reads {reads}; "
            "name weights for this base"
        )


def _check_base(adapter: Attention, unet: Attention) -> None:
    if adapter != unet:
        raise GeneratorError(
            f"model.adapter: was made for another model: its attention has {adapter}, "
            f"this model's UNet has {unet}; name an adapter for this model"
        )


def _check_encoder(folder: Path, adapter: Mapping[str, Tensor], kind: str) -> None:
    name, dimension = {
        PLAIN: ("image_proj.proj.weight", "projection_dim"),
        PLUS: ("image_proj.proj_in.weight", "hidden_size"),
    }[kind]
    reads = _shape(adapter, name)[1]
    try:
        config = component_config(folder, "image_encoder")
        is_a, gives = str(config["model_type"]), int(config[dimension])
    except (OSError, ValueError, KeyError, TypeError):
        raise GeneratorError(
            f"model.encoder: needs a config.json with model_type and {dimension}, that of a CLIP vision model"
        ) from None
    if is_a != _ENCODER:
        raise GeneratorError(f"model.encoder: is a {is_a:.64}; an IP-Adapter needs a CLIP vision model")
    if gives != reads:
        raise GeneratorError(
            f"model.encoder: its {dimension} is {gives:,}, the adapter reads {reads:,}; "
            "name the encoder that the adapter was trained with"
        )


def _attention_of_adapter(tensors: Mapping[str, Tensor]) -> Attention:
    layers: list[tuple[int, ...]] = []
    while (name := f"ip_adapter.{2 * len(layers) + 1}.to_k_ip.weight") in tensors:
        layers.append(_shape(tensors, name))
    return _attention(layers)


def _attention_of_unet(folder: Path) -> Attention:
    """Return the cross attention of a UNet, its layers in the order in which adapters number them."""
    names = dict(_layers(folder))
    return _attention([names[place] for place in sorted(names)])


def _layers(folder: Path) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield of each layer its place, which sorts as adapters number them, and the shape of its weights."""
    for path in sorted(folder.glob("*.safetensors")):
        tensors = read_header(path, "model")
        for name in tensors:
            if found := _ATTENTION.fullmatch(name):
                numbers = [int(number) for number in re.findall(r"\d+", found[2])]
                yield (_BLOCKS.index(found[1]), *numbers), _shape(tensors, name)


def _reads_scale(folder: Path) -> bool:
    """Return whether a UNet has the layer by which latent consistency models read the scale of guidance."""
    return any(_SCALE in read_header(path, "model") for path in folder.glob("*.safetensors"))


def _attention(layers: list[tuple[int, ...]]) -> Attention:
    return Attention(tuple(shape[0] for shape in layers), layers[0][1] if layers else 0)


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Return the shape of a matrix. Raises GeneratorError if it is missing, or no matrix."""
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 2:
        raise GeneratorError(f"model.adapter: its {name} is missing or no matrix; it is no IP-Adapter")
    return shape
