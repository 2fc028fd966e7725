"""Which files a model is made of, what they hold, and the licence that its card states."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import BUILTIN, find_local, locate
from synthkit.generators.model_card import license_of
from synthkit.generators.model_files import differences, files_of, is_whole
from synthkit.generators.model_hashes import contents
from synthkit.generators.unclip import UnclipGenerator
from synthkit.recipe.model import Model
from synthkit.system import known_hashes
from synthkit.system.known_hashes import open_known_hashes
from tests.conftest import Cli

TINY = BUILTIN["tiny-unclip-digits"]
INDEX: dict[str, Any] = {
    "_class_name": "StableUnCLIPImg2ImgPipeline",
    "requires_safety_checker": True,
    "unet": ["diffusers", "UNet2DConditionModel"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "image_normalizer": ["stable_diffusion", "StableUnCLIPImageNormalizer"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": [None, None],
    "../outside": ["diffusers", "AutoencoderKL"],
}


def test_a_model_is_what_its_pipeline_loads() -> None:
    used = [
        "image_normalizer/config.json",
        "image_normalizer/diffusion_pytorch_model.safetensors",
        "model_index.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    ]
    besides = [
        *("README.md", ".gitattributes", "config.json", "v2.ckpt", "v2.safetensors"),
        *("unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin"),
        *("unet/diffusion_pytorch_model.bin.index.json", "unet/model.safetensors", "unet/deep/config.json"),
        "unet/diffusion_pytorch_model.safetensors.index.json",
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        *("text_encoder/pytorch_model.bin", "text_encoder/model.onnx", "text_encoder/flax_model.msgpack"),
        *("text_encoder/adapter_config.json", "text_encoder/adapter_model.safetensors"),
        *("safety_checker/config.json", "safety_checker/model.safetensors"),
        *("feature_extractor/preprocessor_config.json", "vae/config.json", "../outside/config.json"),
    ]
    found = files_of(INDEX, {*used, *besides})
    assert list(found) == used
    assert {path: role for path, role in found.items() if "/" in path} == {
        path: path.split("/")[0] for path in used if "/" in path
    }
    assert found["model_index.json"] == "pipeline"


def test_weights_in_shards_count_with_their_index() -> None:
    stem = "unet/diffusion_pytorch_model"
    shards = [f"{stem}-0000{number}-of-00002.safetensors" for number in (1, 2)]
    there = ["model_index.json", "unet/config.json", f"{stem}.safetensors.index.json", *shards]
    found = files_of(INDEX, {*there, f"{stem}.fp16-00001-of-00002.safetensors"})
    assert sorted(found) == sorted(there)
    assert is_whole(found)
    # What an interrupted download leaves.
    for left_out in (shards[0], shards[1]):
        assert not is_whole(files_of(INDEX, {*there} - {left_out}))
    assert not is_whole(["model_index.json", "unet/config.json"])
    assert is_whole(["model_index.json", "unet/config.json"], "unet")


def test_which_file_differs_is_told() -> None:
    wanted = {"a": "1", "b": "2", "c": "3"}
    assert differences(wanted, wanted) == ""
    assert differences(wanted | {"b": "0"}, wanted) == "b differs"
    assert differences({"a": "1", "b": "2"}, wanted) == "c is missing"
    assert differences(wanted | {"d": "4"}, wanted) == "d is there besides"
    assert differences({"a": "0", "d": "4"}, wanted) == "a differs and 3 more"


def test_what_does_not_count_changes_neither_content_nor_images(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(TINY, tmp_path / "copy"))
    original = locate(Model(id="builtin:tiny-unclip-digits"))
    # transformers would load this adapter, and fail.
    (copy / "text_encoder" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (copy / "text_encoder" / "adapter_model.safetensors").write_bytes(b"lora")
    (copy / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (copy / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    found = locate(Model(id=str(copy)))
    assert found.revision == original.revision
    assert [(part.file, part.sha256) for part in found.parts] == [
        (part.file, part.sha256) for part in original.parts
    ]
    pipeline = UnclipGenerator.read(found, dtype="float32", device="cpu")
    assert pipeline.unet.config.sample_size == 8
    (copy / "scheduler" / "scheduler_config.json").write_text("{}")
    assert locate(Model(id=str(copy))).revision != original.revision


def test_files_are_hashed_once(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "weights"
    file.write_bytes(b"1")
    with mock.patch.object(known_hashes, "_SETTLED_NS", 0), open_known_hashes(tmp_path / "known") as known:
        first = contents(tmp_path / "model", ["weights"], known)
        with mock.patch("synthkit.generators.model_hashes.sha256_of", side_effect=AssertionError):
            assert contents(tmp_path / "model", ["weights"], known) == first
        file.write_bytes(b"2")
        assert contents(tmp_path / "model", ["weights"], known) != first


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    model = Path(shutil.copytree(BUILTIN["flat-colours"], tmp_path / "model"))
    index = json.loads((model / "model_index.json").read_text()) | {"unet": ["diffusers", "X"]}
    (model / "model_index.json").write_text(json.dumps(index))
    (model / "unet" / "config.json").mkdir(parents=True)
    with pytest.raises(GeneratorError, match=r"model\.id: .*unet/config\.json is not a file"):
        locate(Model(id=str(model)))
    (model / "unet" / "config.json").rmdir()
    os.mkfifo(model / "unet" / "config.json")
    with pytest.raises(GeneratorError, match="is not a file"):
        find_local(Model(id=str(model)))
    (model / "unet" / "config.json").unlink()
    (model / "unet" / "config.json").symlink_to("nowhere")
    with pytest.raises(GeneratorError, match=r"config\.json: cannot be read: No such file"):
        locate(Model(id=str(model)))


@pytest.mark.parametrize(
    ("card", "license"),
    [
        ("---\nlicense: openrail++\ntags: [a]\n---\n# Card\nlicense: mit\n", "openrail++"),
        ("---\r\nlicense: apache-2.0\r\n---\r\n", "apache-2.0"),
        (
            "---\nlicense: other\nlicense_name: my-own.1\n---\n",
            "my-own.1",
        ),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense: other\nlicense_name: '[x](javascript:1)'\n---\n", "other"),
        ("# Card\n", ""),
        ('---\nlicense: "x\\n| y"\n---\n', ""),
        ("---\nlicense: [mit, apache-2.0]\n---\n", ""),
        ("---\nlicense: !!python/object/apply:os.system [x]\n---\n", ""),
        ("---\nlicense: {a: *b}\n---\n", ""),
        (f"---\nlicense: {'[' * 9000}\n---\n", ""),
        (f"---\nlicense: {'m' * 97}\n---\n", ""),
        ("---\n- license: mit\n---\n", ""),
        ("---\nlicense: mit\n---\n" + " " * (1 << 20), ""),
    ],
)
def test_a_card_states_a_licence_and_nothing_else(tmp_path: Path, card: str, license: str) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert license_of(tmp_path) == license


def test_a_card_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    assert license_of(tmp_path) == ""
    os.mkfifo(tmp_path / "README.md")
    assert license_of(tmp_path) == ""


def test_what_is_in_the_cache_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    repository, commit = tmp_path / "hub" / "models--me--flat", "0123456789" * 4
    shutil.copytree(BUILTIN["flat-colours"], repository / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    content = locate(Model(id="builtin:flat-colours")).revision
    by_content = locate(Model(id="me/gone", sha256=content, mirrors=["me/flat@v1"]))
    assert (by_content.name, by_content.pieces["model"].folder.name, by_content.commit) == (
        "me/gone",
        commit,
        "",
    )
    assert capsys.readouterr().err == "model: taken from me/flat\n"
    with pytest.raises(GeneratorError) as refused:
        locate(Model(id="me/gone", sha256="0" * 64, mirrors=["me/flat", "me/\x1b[31mred"]))
    assert str(refused.value) == (
        "model.id: no place has the model that model.sha256 names: "
        "me/gone is not on this machine and the Hub cannot be reached (HF_HUB_OFFLINE is set); "
        f"me/flat has other content ({content[:16]}, not {'0' * 16}); "
        "there is no folder me/\x1b[31mred"
    )
    # A branch, as far as the cache knows it.
    with pytest.raises(GeneratorError, match="me/flat is not on this machine and the Hub cannot be reached"):
        locate(Model(id="me/flat"))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    found = locate(Model(id="me/flat"))
    assert (found.revision, found.commit, found.parts[0].revision) == (content, commit, commit)


def test_a_model_that_is_nowhere_is_no_obstacle_to_a_plan(cli: Cli) -> None:
    recipe = (cli.recipe(), "--set", "model.id=./gone")
    assert cli("plan", *recipe).exit_code == 0
    doctor = cli("doctor", *recipe)
    assert doctor.exit_code == 1
    assert "model.id: there is no folder ./gone; name a folder," in " ".join(doctor.output.split())
