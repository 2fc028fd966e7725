"""`synthkit doctor RECIPE`: whether the model can be run, before anything is made."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from synthkit.generators.checkpoint import BUILTIN
from tests.conftest import Cli

NO_GPU = "model.dtype: float16 needs a GPU; on a CPU use --set model.dtype=float32"


def lines_of(cli: Cli, *settings: str) -> list[str]:
    return [line.strip() for line in cli("doctor", cli.recipe(), *settings).output.splitlines()]


def test_a_model_that_no_generator_runs(cli: Cli) -> None:
    (cli.folder / "other").mkdir()
    (cli.folder / "other" / "model_index.json").write_text(json.dumps({"_class_name": "PaintPipeline"}))
    told = " ".join(lines_of(cli, "--set", "model.id=other"))
    assert "model other: is a PaintPipeline; synthkit runs StableUnCLIPImg2ImgPipeline" in told


@pytest.mark.parametrize(("model", "stops"), [("tiny-unclip-digits", True), ("flat-colours", False)])
def test_float16_without_a_gpu(cli: Cli, monkeypatch: pytest.MonkeyPatch, model: str, stops: bool) -> None:
    """What runs no model needs no GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    told = " ".join(lines_of(cli, "--set", f"model.id=builtin:{model}", "--set", "model.dtype=float16"))
    assert (NO_GPU in told) is stops


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """As if this machine had so many bytes of memory, and no GPU."""
    real = os.sysconf
    pages = size // real("SC_PAGE_SIZE")
    monkeypatch.setattr(os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else real(name))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize(
    ("memory", "dtype", "mark", "told"),
    [
        (1 << 30, "float32", " ", "cpu has 1.07 GB"),
        (14_500_000, "float32", "!", "cpu has 14.5 MB: little is left for a batch"),
        (9_000_000, "float32", "x", "a build would not fit; set model.dtype to bfloat16"),
        (9_000_000, "bfloat16", " ", "cpu has 9 MB"),
        (1_000_000, "float32", "x", "a build would not fit; build on a larger device"),
    ],
)
def test_the_weights_against_the_memory_of_the_device(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, memory: int, dtype: str, mark: str, told: str
) -> None:
    """The weights of the embedded model are halved by another type; nothing is loaded."""
    with_memory(monkeypatch, memory)
    ran = cli("doctor", cli.recipe(), "--set", f"model.dtype={dtype}")
    (line,) = [line for line in ran.output.splitlines() if "the weights take" in line]
    assert line.startswith(mark)
    assert told in line
    assert (ran.exit_code == 1) is (mark == "x")


def test_what_runs_no_model_needs_no_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory(monkeypatch, 1_000_000)
    ran = cli("doctor", cli.recipe(), "--set", "model.id=builtin:flat-colours")
    assert ran.exit_code == 0, ran.output
    assert "the weights take" not in ran.output


def test_weights_that_are_damaged(cli: Cli) -> None:
    copy = Path(shutil.copytree(BUILTIN["tiny-unclip-digits"], cli.folder / "copy"))
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    told = " ".join(lines_of(cli, "--set", "model.id=./copy"))
    assert (
        "memory     model.id: diffusion_pytorch_model.safetensors is no safetensors file, or a damaged"
        in (re.sub(" {2,}", "     ", told))
    )


@pytest.mark.parametrize(
    ("license", "told"),
    [
        ("apache-2.0", "apache-2.0: sets no limit to training other models on the images"),
        (
            "sai-nc-community",
            "sai-nc-community: a model trained on the images counts as derived from this one",
        ),
        ("houses-own-2", "houses-own-2: not known to synthkit: read what it says of the images"),
    ],
)
def test_what_follows_from_the_licence_of_the_model(cli: Cli, license: str, told: str) -> None:
    settings = ("--set", "model.id=builtin:flat-colours", "--set", f"model.license={license}")
    (line,) = [line for line in lines_of(cli, *settings) if license in line]
    assert told in line
    assert line.startswith("licence") is (license == "apache-2.0")
