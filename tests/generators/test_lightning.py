"""SDXL-Lightning: other weights of the UNet, four steps without guidance, and an IP-Adapter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from synthkit import generators
from synthkit.errors import GeneratorError
from synthkit.generators.checkpoint import locate
from synthkit.recipe.model import Model, Unet
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe
from tests.helpers.adapters import SDXL, Family, photos
from tests.helpers.miniature_models import lightning

SAMPLER = Sampler(scheduler="euler-trailing", steps=4, guidance_scale=1.0, batch_size=2)
FILE = "sdxl_lightning_4step_unet.safetensors"


@pytest.fixture(scope="module")
def few_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lightning(tmp_path_factory.mktemp("hub") / "SDXL-Lightning")


@pytest.fixture(scope="module")
def family(sd15: Path, sdxl: Path, ip_adapters: Path) -> Family:
    return Family(SDXL, sd15, sdxl, ip_adapters)


def recipe_with(family: Family, unet: Unet) -> Recipe:
    recipe = family.recipe(SAMPLER)
    model: Model = recipe.model.model_copy(update={"unet": unet})
    return recipe.model_copy(update={"model": model})


def test_images_are_those_of_the_stock_pipeline_with_these_weights(family: Family, few_steps: Path) -> None:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    recipe = recipe_with(family, Unet(id=str(few_steps), file=FILE))
    ours: Any = generators.load(locate(recipe.model), recipe, "cpu")
    real = photos(2)
    mine = ours.generate(ours.embed_images(real), ["zero", "one"], [5, 6])

    pipeline = StableDiffusionXLPipeline.from_pretrained(family.base, use_safetensors=True)
    pipeline.unet.load_state_dict(load_file(few_steps / FILE))
    pipeline.scheduler = EulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing"
    )
    pipeline.load_ip_adapter(
        family.adapters,
        subfolder="sdxl_models",
        weight_name=Path(SDXL.file).name,
        image_encoder_folder=SDXL.encoder,
    )
    pipeline.set_progress_bar_config(disable=True)
    for row, prompt in enumerate(["zero", "one"]):
        stock = pipeline(
            prompt,
            ip_adapter_image=real[row],
            num_inference_steps=4,
            guidance_scale=0,
            generator=torch.Generator().manual_seed(5 + row),
        ).images[0]
        assert np.abs(np.asarray(stock).astype(int) - mine[row]).max() <= 1


@pytest.mark.parametrize(
    "file", ["unet/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"]
)
def test_a_file_of_weights_may_have_any_name(
    family: Family, few_steps: Path, tmp_path: Path, file: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    shutil.copy(few_steps / FILE, tmp_path / file)
    named, same = (
        locate(recipe_with(family, Unet(id=str(folder), file=name)).model)
        for folder, name in ((tmp_path, file), (few_steps, FILE))
    )
    assert named.revision == same.revision and named.files.keys() == same.files.keys()
    recipe = recipe_with(family, Unet(id=str(tmp_path), file=file))
    generators.load(named, recipe, "cpu")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (
            "diffusion_pytorch_model.safetensors",
            "has weights for text of width 32, the base's UNet reads 48; name weights for this base",
        ),
        ("lora.safetensors", "has no weights of a UNet by the names that diffusers gives them; a LoRA and "),
    ],
)
def test_weights_that_are_not_the_unets(
    family: Family, sd15: Path, tmp_path: Path, file: str, told: str
) -> None:
    shutil.copytree(sd15 / "unet", tmp_path / "weights")
    save_file({"lora_unet_down.weight": torch.zeros(2, 2)}, tmp_path / "weights" / "lora.safetensors")
    recipe = recipe_with(family, Unet(id=str(tmp_path / "weights"), file=file))
    with pytest.raises(GeneratorError) as caught:
        generators.check_recipe(locate(recipe.model), recipe)
    assert str(caught.value).startswith(f"model.unet: {told}")
