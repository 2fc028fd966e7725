"""Images that begin from a real one are those of diffusers' image-to-image pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.generators.starting import Start, encoded
from synthkit.levels import start_pixels
from synthkit.recipe.sampler import Sampler
from tests.helpers import miniature_flux as flux
from tests.helpers.adapters import SD15, SDXL, Adapter, Family, photos
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="ddim", steps=4, guidance_scale=2.0, batch_size=3)
CLASSES = {
    "ddim": "DDIMScheduler",
    "dpm-solver++": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "lcm": "LCMScheduler",
}


def nothing(generator: Any, count: int) -> np.ndarray:
    return np.stack([generator.null_embedding] * count)


def starts(generator: Any, *strengths: float) -> list[Start]:
    pictures = photos(len(strengths))
    pixels = [start_pixels(picture, generator.edge) for picture in pictures]
    return list(map(Start, pixels, strengths))


def by_stock(pipeline: Any, vae: Any, start: Start, **call: Any) -> np.ndarray:
    """One image of an image-to-image pipeline, called as the documentation does.

    It is given latents, since it would draw them around the encoder's means.
    """
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        **call,
        image=encoded(vae, np.stack([start.pixels])),
        strength=start.strength,
        num_inference_steps=SAMPLER.steps,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images
    return np.asarray(images[0]) * 255


def assert_nearly_equal(mine: np.ndarray, stock: np.ndarray) -> None:
    assert np.abs(mine.astype(float) - stock).max() <= 2
    assert stock.std() > 5


@pytest.fixture(scope="module", params=[SD15, pytest.param(SDXL, marks=pytest.mark.slow)], ids=["15", "xl"])
def family(request: pytest.FixtureRequest, sd15: Path, sdxl: Path, ip_adapters: Path) -> Family:
    kind: Adapter = request.param
    return Family(kind, sd15, sdxl, ip_adapters)


@pytest.fixture(scope="module")
def generator(family: Family) -> Any:
    return family.load(SAMPLER)


@pytest.fixture(scope="module")
def stock(family: Family) -> Any:
    from diffusers import AutoPipelineForImage2Image

    return AutoPipelineForImage2Image.from_pipe(family._opened())


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("scheduler", CLASSES)
def test_with_its_adapter_off_it_is_the_stock_pipeline(
    generator: Any, stock: Any, scheduler: str, strength: float
) -> None:
    import diffusers

    ours = generator.resampled(SAMPLER.model_copy(update={"scheduler": scheduler}))
    start = starts(generator, strength)
    mine = ours.generate(nothing(generator, 1), ["zero"], [5], [0.0], start)[0]
    own = stock.scheduler.config
    stock.scheduler = getattr(diffusers, CLASSES[scheduler]).from_config(own, clip_sample=False)
    assert_nearly_equal(mine, by_stock(stock, stock.vae, start[0], prompt="zero", guidance_scale=2.0))


def test_a_step_is_told_for_each_that_is_left(generator: Any) -> None:
    for scheduler, told in (("ddim", 2), ("pndm", 3)):
        steps: list[int] = []
        ours = generator.resampled(SAMPLER.model_copy(update={"scheduler": scheduler}))
        ours.on_step = lambda steps=steps: steps.append(1)
        ours.generate(nothing(ours, 3), ["zero"] * 3, [5, 6, 7], None, starts(ours, 0.5, 0.5, 0.74))
        assert len(steps) == told


def test_rows_that_begin_at_other_steps_are_made_apart(generator: Any) -> None:
    several = starts(generator, 0.25, 1.0, 0.5)
    rows = (nothing(generator, 3), ["zero", "one", "two"], [5, 6, 7], None)
    made = generator.generate(*rows, [*several[:2], None])
    plain = generator.generate(*rows)
    np.testing.assert_array_equal(made[2], plain[2])
    assert (made[:2] != plain[:2]).any(axis=(1, 2, 3)).all()
    alone = generator.generate(nothing(generator, 1), ["one"], [6], None, several[1:2])
    np.testing.assert_array_equal(made[1], alone[0])
    np.testing.assert_array_equal(generator.generate(*rows), plain)


def test_pndm_begins_late_with_the_warm_up_that_it_begins_early_with() -> None:
    """It is near the path of many small steps from the same noise; the stock pipeline's cut is at 32 dB."""
    few = Sampler(scheduler="pndm", steps=20, guidance_scale=1.0, batch_size=3)
    generator = load_on_cpu(locate(recipe_of(few).model), few)
    many = generator.resampled(few.model_copy(update={"scheduler": "ddim", "steps": 100}))

    def made(of: Any, strength: float) -> np.ndarray:
        images = of.generate(nothing(of, 3), ["two"] * 3, [5, 6, 7], None, starts(of, *[strength] * 3))
        return np.asarray(images, dtype=float)

    # Both begin at timestep 451: the tenth of steps of 50, the forty-sixth of steps of 10.
    error = np.mean((made(generator, 0.5) - made(many, 0.46)) ** 2)
    assert 10 * np.log10(255**2 / error) > 38


def test_a_low_strength_keeps_to_its_start_and_a_high_one_to_its_noise() -> None:
    how = Sampler(scheduler="dpm-solver++", steps=8, guidance_scale=1.0, batch_size=3)
    generator = load_on_cpu(locate(recipe_of(how).model), how)
    rows = (nothing(generator, 3), ["two"] * 3, [5, 6, 7], None)
    low, high = (starts(generator, *[strength] * 3) for strength in (0.25, 1.0))
    real, noise = np.stack([start.pixels for start in low]), generator.generate(*rows)

    def far(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one.astype(float) - other).mean())

    near_start, near_noise = generator.generate(*rows, low), generator.generate(*rows, high)
    assert far(near_start, real) < far(near_noise, real)
    assert far(near_noise, noise) < far(near_start, noise)


def test_flux_is_the_stock_pipeline(tmp_path: Path) -> None:
    from diffusers import FluxImg2ImgPipeline

    schnell, redux = flux.schnell(tmp_path / "schnell"), flux.redux(tmp_path / "redux")
    sampler = Sampler(
        scheduler="flow-euler", steps=SAMPLER.steps, guidance_scale=1.0, batch_size=1, size=flux.SMALL
    )
    recipe = recipe_of(sampler)
    model = recipe.model.model_validate({"id": str(schnell), "encoder": {"id": str(redux)}})
    generator: Any = load(locate(model), recipe.model_copy(update={"model": model}), "cpu")
    stock = FluxImg2ImgPipeline.from_pretrained(schnell)
    (start,) = starts(generator, 0.5)
    mine = generator.generate(nothing(generator, 1), ["zero"], [5], None, [start])[0]
    call = {"guidance_scale": 0.0, "height": flux.SMALL, "width": flux.SMALL, "max_sequence_length": 256}
    assert_nearly_equal(mine, by_stock(stock, stock.vae, start, prompt="zero", **call))
