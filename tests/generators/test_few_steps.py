"""The schedulers of few steps: unipc for any model, lcm for models that were distilled to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler, PNDMScheduler, UniPCMultistepScheduler

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe
from synthkit.generators.checkpoint import BUILTIN, locate
from synthkit.generators.schedulers import make_scheduler
from synthkit.recipe.model import Unet
from synthkit.recipe.sampler import Sampler
from tests.conftest import Cli
from tests.helpers.adapters import SD15, Family, photos
from tests.helpers.miniature_models import consistent

OWN = PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
STOCK = {"unipc": UniPCMultistepScheduler, "lcm": LCMScheduler}


def sampler(scheduler: str, steps: int) -> Sampler:
    return Sampler.model_validate({"scheduler": scheduler, "steps": steps})


def sampled(scheduler: Any, steps: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return what a scheduler makes of noise, by a network that predicts the same share of its input."""
    scheduler.set_timesteps(steps)
    latents = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    draws = {"generator": generators} if "lcm" in type(scheduler).__name__.lower() else {}
    for step in scheduler.timesteps:
        latents = scheduler.step(0.7 * latents, step, latents, **draws, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("name", "steps"), [("unipc", 10), ("unipc", 1), ("lcm", 4), ("lcm", 1)])
def test_steps_are_those_of_diffusers(name: str, steps: int, prediction: str) -> None:
    own = PNDMScheduler.from_config(OWN.config, prediction_type=prediction)
    made = sampled(make_scheduler(own, sampler(name, steps)), steps)
    assert made.equal(sampled(STOCK[name].from_config(own.config), steps))


@pytest.mark.parametrize(("name", "steps"), [("unipc", 4), ("lcm", 2)])
def test_a_narrow_model_is_stepped_in_float32(name: str, steps: int) -> None:
    """Noise of eight bits would be other noise, and a sum of eight bits another image."""
    narrow = sampled(make_scheduler(OWN, sampler(name, steps)), steps, torch.bfloat16)
    wide = sampled(make_scheduler(OWN, sampler(name, steps)), steps)
    assert narrow.dtype == torch.bfloat16
    assert (narrow.float() - wide).abs().max() < 0.05 * wide.abs().max()


def test_noise_between_steps_is_of_each_images_own_seed() -> None:
    def made(seeds: tuple[int, int]) -> torch.Tensor:
        scheduler = make_scheduler(OWN, sampler("lcm", 2))
        given = torch.ones(2, 2, 4, 4, 4, dtype=torch.bfloat16)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        stepped: torch.Tensor = scheduler.step(
            given[0], scheduler.timesteps[0], given[1], generator=generators, return_dict=False
        )[0]
        return stepped

    first, second = made((1, 2)), made((1, 3))
    assert first[0].equal(second[0]) and not first[1].equal(second[1])
    # Eight bits hold some 200 numbers between 0 and 1; float32, rounded, has the tails besides.
    assert first[0].equal(made((1, 1))[1])


def test_a_last_step_without_noise_is_finite_whatever_a_model_says() -> None:
    own = PNDMScheduler.from_config({**OWN.config, "lower_order_final": False, "solver_order": 3})
    assert sampled(make_scheduler(own, sampler("unipc", 5)), 5).isfinite().all()


@pytest.mark.parametrize("name", ["unipc", "lcm"])
def test_the_noise_is_that_of_the_models_training(tmp_path: Path, name: str) -> None:
    """A file may leave it to the class, and lcm's class has another one."""
    (tmp_path / "scheduler_config.json").write_text('{"_class_name": "EulerDiscreteScheduler"}')
    own = EulerDiscreteScheduler.from_pretrained(tmp_path)
    made = make_scheduler(own, sampler(name, 4))
    assert made.alphas_cumprod.equal(own.alphas_cumprod)
    assert not LCMScheduler.from_config(own.config).alphas_cumprod.equal(own.alphas_cumprod)


def test_latents_are_clipped_only_if_the_model_says_so() -> None:
    for name in ("unipc", "lcm"):
        config = make_scheduler(OWN, sampler(name, 4)).config
        assert not config.get("clip_sample") and not config.thresholding
    clipping = PNDMScheduler.from_config({**OWN.config, "clip_sample": True})
    assert make_scheduler(clipping, sampler("lcm", 4)).config.clip_sample


@pytest.mark.parametrize(
    ("name", "steps", "spacing", "told"),
    [
        ("lcm", 51, "leading", "51 are more than this model's lcm scheduler has; use at most 50; 2 to 8"),
        ("unipc", 1000, "leading", "1000 are more than this model's unipc scheduler has; use fewer than 999"),
        ("unipc", 1000, "linspace", "1000 are more than this model's unipc scheduler has; use fewer than"),
        ("dpm-solver++", 1000, "linspace", "1000 are more than this model's dpm-solver++ scheduler has; "),
    ],
)
def test_more_steps_than_there_are(name: str, steps: int, spacing: str, told: str) -> None:
    """Solvers would divide by the nothing between two equal steps."""
    own = PNDMScheduler.from_config(OWN.config, timestep_spacing=spacing)
    with pytest.raises(GeneratorError) as caught:
        make_scheduler(own, sampler(name, steps))
    assert str(caught.value).startswith(f"sampler.steps: {told}")
    make_scheduler(own, sampler(name, 50))


def test_a_model_that_states_its_own_steps_of_distillation() -> None:
    own = LCMScheduler(original_inference_steps=100)
    assert make_scheduler(own, sampler("lcm", 60)).timesteps[0] == 999
    # Only lcm takes a part of them.
    assert len(make_scheduler(own, sampler("ddim", 200)).timesteps) == 200


def test_a_latent_consistency_model_reads_the_scale_of_guidance(
    sd15: Path, sdxl: Path, ip_adapters: Path, tmp_path: Path
) -> None:
    """Its UNet has it as an input, so there is no negative half: what diffusers makes of one image."""
    family = Family(SD15, consistent(sd15, tmp_path / "lcm"), sdxl, ip_adapters)
    photo = photos(1)
    made = []
    for scale in (1.0, 8.0):
        alone = Sampler(scheduler="lcm", steps=2, guidance_scale=scale, batch_size=1)
        ours = family.load(alone)
        made.append(ours.generate(ours.embed_images(photo), ["zero"], [5])[0])
    stock = family.stock_image(photo[0], "zero", 5, guidance_scale=8.0, scheduler=LCMScheduler)
    assert np.abs(np.asarray(stock).astype(int) - made[1]).max() <= 1
    assert (made[0] != made[1]).any()


def test_a_unet_that_reads_the_scale_on_a_base_that_does_not(
    sd15: Path, sdxl: Path, ip_adapters: Path, tmp_path: Path
) -> None:
    """diffusers would load it without that layer, and not tell."""
    weights = consistent(sd15, tmp_path / "lcm") / "unet"
    recipe = Family(SD15, sd15, sdxl, ip_adapters).recipe(sampler("lcm", 4))
    unet = Unet(id=str(weights), file="diffusion_pytorch_model.safetensors")
    model = recipe.model.model_copy(update={"unet": unet})
    with pytest.raises(GeneratorError, match=r"^model\.unet: has weights of a UNet that reads the scale of"):
        check_recipe(locate(model), recipe.model_copy(update={"model": model}))


def told_by_doctor(cli: Cli, model: str, *settings: str) -> list[str]:
    result = cli("doctor", cli.recipe(), "--set", f"model.id={model}", *settings)
    return [line for line in result.output.splitlines() if " scheduler " in line]


def test_doctor_tells_of_lcm_with_an_ordinary_model(cli: Cli) -> None:
    lcm = ("--set", "sampler.scheduler=lcm", "--set", "sampler.steps=4")
    (line,) = told_by_doctor(cli, "builtin:tiny-unclip-digits", *lcm)
    assert line.startswith("!") and line.endswith(
        "lcm is for latent consistency models, and nothing in this model's files says that it is one; "
        "an ordinary model takes few steps with unipc"
    )
    assert not told_by_doctor(cli, "builtin:tiny-unclip-digits", "--set", "sampler.scheduler=unipc")


@pytest.mark.parametrize("part", ["scheduler/scheduler_config.json", "unet/config.json"])
def test_doctor_tells_of_more_steps_than_lcm_is_for(cli: Cli, part: str) -> None:
    copy = Path(shutil.copytree(BUILTIN["tiny-unclip-digits"], cli.folder / "copy"))
    says = {"_class_name": "LCMScheduler"} if "scheduler" in part else {"time_cond_proj_dim": 256}
    (copy / part).write_text(json.dumps(json.loads((copy / part).read_text()) | says))
    lcm = ("--set", "sampler.scheduler=lcm", "--set")
    assert not told_by_doctor(cli, "./copy", *lcm, "sampler.steps=8")
    (line,) = told_by_doctor(cli, "./copy", *lcm, "sampler.steps=9")
    assert line.endswith("latent consistency models were distilled for at most 8 steps, sampler.steps is 9")
