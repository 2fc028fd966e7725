"""The three stages on a world of two fonts, a step each: what is saved is a pipeline that draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
import torch

from pretraining.tiny_unclip.export import load
from pretraining.tiny_unclip.generate import Request, generate
from pretraining.tiny_unclip.train import train
from pretraining.tiny_unclip.world import Settings, World
from pretraining.tiny_unclip_digits import conditions as of_digits
from pretraining.tiny_unclip_digits.world import DigitWorld
from pretraining.tiny_unclip_glyphs import conditions as of_glyphs
from pretraining.tiny_unclip_glyphs.glyphs import render
from pretraining.tiny_unclip_glyphs.world import GlyphWorld

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
STEP = Settings(autoencoder_steps=1, tower_steps=1, unet_steps=1, threads=1)


def glyphs() -> World:
    return GlyphWorld(render({"sans": [FONTS / "DejaVuSans.ttf"]}), replace(STEP, autoencoder_groups=4))


def digits() -> World:
    return replace(DigitWorld.of_pretraining_part(), settings=STEP)


@pytest.mark.slow
@pytest.mark.parametrize("make_world", [digits, glyphs])
def test_training_repeats_and_what_it_saves_draws(
    make_world: type[World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_digits, "VIEWS", 1)
    monkeypatch.setattr(of_digits, "CROPS", 1)
    monkeypatch.setattr(of_glyphs, "CACHED", of_glyphs.BATCH)
    threads = torch.get_num_threads()
    try:
        for name in ("first", "second"):
            train(make_world(), tmp_path / name, seed=3)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    saved = [sorted((tmp_path / name).rglob("*.safetensors")) for name in ("first", "second")]
    assert len(saved[0]) == 5
    assert [file.read_bytes() for file in saved[0]] == [file.read_bytes() for file in saved[1]]
    images = generate(load(tmp_path / "first"), Request(torch.zeros(2, 128), [3, 4], [1, 2]))
    assert images.shape == (2, 32, 32, 3)
