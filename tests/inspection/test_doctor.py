"""`synthkit doctor RECIPE`: whether the model can be run, before anything is made."""

from __future__ import annotations

import json

import pytest

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
