"""`sampler.size`: the edge of the images that a model makes, which is not always its own."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableUnCLIPImg2ImgPipeline
from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, image_edge
from synthkit.generators.checkpoint import BUILTIN, Checkpoint, locate
from synthkit.generators.schedulers import make_scheduler
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.sources.base import load_image
from synthkit.sources.digits import DigitsSource
from tests.conftest import FLAT, Cli, read_member
from tests.helpers.generating import load_on_cpu, recipe_of

EMBEDDED = BUILTIN["tiny-unclip-digits"]
SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=2, size=48)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return locate(Model(id="builtin:tiny-unclip-digits"))


def test_stable_unclip_makes_images_of_a_size(checkpoint: Checkpoint) -> None:
    generator = load_on_cpu(checkpoint, SAMPLER)
    real = [load_image(DigitsSource("test"), position) for position in (0, 40)]
    mine = generator.generate(generator.embed_images(real), ["zero", "one"], [1, 2])
    assert (mine.shape, image_edge(checkpoint, SAMPLER)) == ((2, 48, 48, 3), 48)
    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(EMBEDDED, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(pipeline.scheduler, SAMPLER)
    stock = pipeline(
        image=real,
        prompt=["zero", "one"],
        height=48,
        width=48,
        generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
        num_inference_steps=2,
        guidance_scale=2.0,
    ).images
    assert np.abs(np.stack([np.asarray(image) for image in stock]).astype(int) - mine).max() <= 1


@pytest.mark.parametrize(("size", "steps"), [(48, 16), (40, 16)])
def test_a_size_that_the_decoder_cannot_make(tmp_path: Path, size: int, steps: int) -> None:
    """Sixteen pixels of an edge for one of the latent's: multiples of eight are not enough."""
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableUnCLIPImg2ImgPipeline"}')
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"block_out_channels": [8] * 5}))
    recipe = recipe_of(SAMPLER.model_copy(update={"size": size}))
    files = {path: tmp_path / path for path in ("model_index.json", "vae/config.json")}
    model = Checkpoint("model", "0", files=files)
    if size % steps == 0:
        check_recipe(model, recipe)
        return
    with pytest.raises(GeneratorError) as caught:
        check_recipe(model, recipe)
    assert str(caught.value) == f"sampler.size: is {size}, this model needs a multiple of {steps}"


@pytest.mark.parametrize(
    ("size", "told"),
    [(20, "a multiple of 8, is 20"), (0, "at least 8, is 0"), (5000, "at most 4096, is 5000")],
)
def test_a_size_that_no_model_makes(cli: Cli, size: int, told: str) -> None:
    result = cli("plan", cli.recipe(), "--set", f"sampler.size={size}")
    assert result.exit_code == 1
    assert f"sampler.size: must be {told}" in result.output


def test_a_release_of_a_size_and_its_digest(cli: Cli) -> None:
    recipe = cli.recipe()
    sizes = ((), ("--set", "sampler.size=null"), ("--set", "sampler.size=64"))
    unset, null, larger = (_digest(cli("digest", recipe, *FLAT, *more).output) for more in sizes)
    assert unset == null != larger
    assert cli("build", recipe, *FLAT, "--set", "sampler.size=64").exit_code == 0
    release = cli.folder / "releases" / "small"
    assert "  size: 64\n" in (release / "recipe.yaml").read_text()
    image = Image.open(BytesIO(read_member(release / "data" / "train-00000.tar", "000000000.png")))
    assert image.size == (64, 64)
    assert cli("verify", release).exit_code == 0


def _digest(printed: str) -> str:
    return str(json.loads(printed[printed.index("{") :])["digest"])


def test_euler_trailing_begins_with_the_noise_alone() -> None:
    """Four steps from the last timestep, as SDXL-Lightning was distilled to; others begin before it."""
    base = EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1)
    scheduler = make_scheduler(base, Sampler(scheduler="euler-trailing", steps=4))
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    assert make_scheduler(base, Sampler(scheduler="euler", steps=4)).timesteps.tolist() == [751, 501, 251, 1]


@pytest.mark.parametrize("steps", [*range(1, 41), 50, 100, 300, 999, 1000])
def test_euler_trailing_takes_the_steps_that_are_asked_for(steps: int) -> None:
    scheduler: Any = make_scheduler(
        EulerDiscreteScheduler(), Sampler(scheduler="euler-trailing", steps=steps)
    )
    assert len(scheduler.timesteps) == steps


def test_fewer_steps_than_a_scheduler_needs() -> None:
    with pytest.raises(GeneratorError) as caught:
        make_scheduler(EulerDiscreteScheduler(), Sampler(scheduler="pndm", steps=3))
    assert str(caught.value) == ("sampler.steps: 3 are too few for this model's pndm scheduler; use more")
