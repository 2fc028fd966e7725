"""Whether an adapter, its base and its encoder fit each other, told from files that are not loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, embedding_shape
from synthkit.generators.adapter_fit import PLAIN, PLUS, adapter_kind
from synthkit.generators.checkpoint import locate
from synthkit.generators.safetensors_header import LONGEST, Tensor, read_header
from synthkit.recipe.sampler import Sampler
from tests.helpers.adapters import ADAPTERS, SD15, SDXL, SDXL_PLUS, Adapter, Family, model_of
from tests.helpers.generating import recipe_of

SAMPLER = Sampler(scheduler="ddim", steps=2, batch_size=3)
ENCODER = "models/image_encoder"


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_the_kinds_are_told_apart_and_fit(
    adapter: Adapter, sd15: Path, sdxl: Path, ip_adapters: Path
) -> None:
    kind = adapter_kind(ip_adapters / adapter.file)
    assert kind == adapter.cls.KIND == (PLUS if "plus" in adapter.name else PLAIN)
    family = Family(adapter, sd15, sdxl, ip_adapters)
    check_recipe(family.checkpoint, family.recipe(SAMPLER))


def told_of(base: Path, adapter: Path, encoder: Path) -> str:
    """Return the error about a recipe's model, of which nothing is loaded."""
    model = model_of(base, adapter, encoder)
    recipe = recipe_of(SAMPLER).model_copy(update={"model": model})
    with pytest.raises(GeneratorError) as caught:
        check_recipe(locate(model), recipe)
    return str(caught.value)


def test_an_adapter_for_another_base(sdxl: Path, ip_adapters: Path) -> None:
    assert told_of(sdxl, ip_adapters / SD15.file, ip_adapters / ENCODER) == (
        "model.adapter: was made for another model: its attention has 7 layers with 176 channels, for text "
        "of width 32, this model's UNet has 8 layers with 256 channels, for text of width 48; "
        "name an adapter for this model"
    )


def test_an_encoder_for_another_adapter(sdxl: Path, ip_adapters: Path) -> None:
    assert told_of(sdxl, ip_adapters / SDXL.file, ip_adapters / "sdxl_models/image_encoder") == (
        "model.encoder: its projection_dim is 40, the adapter reads 24; "
        "name the encoder that the adapter was trained with"
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"model_type": "siglip_vision_model"},
            "is a siglip_vision_model; an IP-Adapter needs a CLIP vision",
        ),
        ({"hidden_size": 16}, "its hidden_size is 16, the adapter reads 32; name the encoder"),
        ({"hidden_size": "wide"}, "needs a config.json with model_type and hidden_size"),
    ],
)
def test_an_encoder_of_another_kind(
    config: dict[str, Any], told: str, sdxl: Path, ip_adapters: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(ip_adapters / ENCODER, tmp_path / "encoder")) / "config.json"
    other.write_text(json.dumps(json.loads(other.read_text()) | config))
    assert told_of(sdxl, ip_adapters / SDXL_PLUS.file, other.parent).startswith(f"model.encoder: {told}")


def test_an_adapter_that_lacks_a_layer(sd15: Path, ip_adapters: Path, tmp_path: Path) -> None:
    tensors = load_file(ip_adapters / SD15.file)
    del tensors["ip_adapter.9.to_k_ip.weight"]
    save_file(tensors, tmp_path / "less.safetensors")
    told = told_of(sd15, tmp_path / "less.safetensors", ip_adapters / ENCODER)
    assert told.startswith("model.adapter: was made for another model: its attention has 4 layers with ")


def test_a_base_without_the_weights_of_its_unet(sd15: Path, ip_adapters: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(sd15, tmp_path / "base"))
    for weights in (base / "unet").glob("diffusion*"):
        weights.unlink()
    told = told_of(base, ip_adapters / SD15.file, ip_adapters / ENCODER)
    assert told.startswith("model.id: has no weights of its UNet in safetensors")


@pytest.mark.parametrize("changes", [{"patch_size": 0}, {"image_size": float("inf")}])
def test_numbers_that_no_encoder_has(
    changes: dict[str, Any], sdxl: Path, ip_adapters: Path, tmp_path: Path
) -> None:
    config = Path(shutil.copytree(ip_adapters / ENCODER, tmp_path / "encoder")) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    checkpoint = locate(model_of(sdxl, ip_adapters / SDXL_PLUS.file, config.parent))
    assert embedding_shape(checkpoint) is None


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, "{}"], ids=range(4))
def test_a_damaged_configuration(content: str, sd15: Path, ip_adapters: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(sd15, tmp_path / "base"))
    (base / "unet" / "config.json").write_text(content)
    told = told_of(base, ip_adapters / SD15.file, ip_adapters / ENCODER)
    damaged = "model base: a config.json of its parts is missing or damaged: "
    assert told.startswith(
        damaged if content != "{}" else "model.unet: has weights for text of width 32, the base"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["image_proj.proj.3.weight"], "is a Full IP-Adapter; synthkit runs plain and plus ones"),
        (["image_proj.norm.weight"], "is a FaceID IP-Adapter; synthkit runs plain and plus ones"),
        (
            ["image_proj.perceiver_resampler.proj_in.weight", "image_proj.norm.weight"],
            "is a FaceID Plus IP-Adapter; synthkit runs plain and plus ones",
        ),
        (["image_proj.proj.weight", "ip_adapter.0.to_k_lora.down.weight"], "has a LoRA; "),
        (
            ["lora_unet_down_blocks_0.lora_down.weight"],
            "has a LoRA; synthkit runs plain and plus IP-Adapters",
        ),
        (["controlnet.weight"], "is no adapter that synthkit runs; take a plain IP-Adapter or a plus one"),
        (
            ["ip_adapter.1.to_k_ip.weight"],
            "is no adapter that synthkit runs; take a plain IP-Adapter or a plus one",
        ),
    ],
)
def test_adapters_of_other_kinds(names: list[str], told: str, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(2, 2) for name in names}, path)
    with pytest.raises(GeneratorError) as caught:
        adapter_kind(path)
    assert str(caught.value).startswith(f"model.adapter.file: {told}")


def test_a_header_has_types_and_shapes(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(2, 3, dtype=torch.bfloat16), "b": torch.zeros(())}, path, {"note": "text"})
    header = read_header(path, "model")
    assert header == {"a": Tensor("BF16", (2, 3)), "b": Tensor("F32", ())}
    assert [tensor.numbers for tensor in header.values()] == [6, 1]


def header_of(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"a pickle, say, or a page of HTML",
        header_of(b"{}", LONGEST + 1),
        header_of(b"{}", 2**64 - 1),
        header_of(b"{}", 100),
        header_of(b"[1, 2]"),
        header_of(b'{"a": 1}'),
        header_of(b"[" * 100_000),
        header_of(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'),
        header_of(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}'),
        header_of(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}'),
        header_of(b'{"a": {"dtype": "text", "shape": [0], "data_offsets": [0, 0]}}'),
        header_of(b"\xff\xfe{}"),
    ],
    ids=range(14),
)
def test_a_file_of_a_stranger(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "strange.safetensors"
    path.write_bytes(content)
    with pytest.raises(GeneratorError) as caught:
        adapter_kind(path)
    told = "model.adapter.file: strange.safetensors is no safetensors file, or a damaged one: "
    assert str(caught.value).startswith(told)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(
        GeneratorError, match=r"^model: folder\.safetensors is no safetensors file.*not a file$"
    ):
        read_header(tmp_path / "folder.safetensors", "model")
    with pytest.raises(GeneratorError, match=r"^model: none\.safetensors cannot be read: No such file"):
        read_header(tmp_path / "none.safetensors", "model")
