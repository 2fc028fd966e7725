"""Kandinsky 2.2's decoder, fed with the embeddings of the encoder in its prior's repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, embedding_shape, image_edge
from synthkit.generators.checkpoint import Checkpoint, locate
from synthkit.generators.kandinsky import KandinskyGenerator
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.model import Encoder, Model
from synthkit.recipe.sampler import Sampler
from tests.conftest import Cli
from tests.helpers import miniature_kandinsky as kandinsky
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="ddpm", steps=3, guidance_scale=2.0, batch_size=4)


@pytest.fixture(scope="module")
def checkpoint(decoder: Path, prior: Path) -> Checkpoint:
    return locate(Model(id=str(decoder), encoder=Encoder(id=str(prior))))


def load(checkpoint: Checkpoint, sampler: Sampler = SAMPLER, **more: Any) -> Any:
    return load_on_cpu(checkpoint, sampler, prompt="", **more)


@pytest.fixture(scope="module")
def generator(checkpoint: Checkpoint) -> Any:
    return load(checkpoint)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (70, 60, 3), np.uint8)) for _ in range(4)]


@pytest.fixture(scope="module")
def rows(generator: Any, images: list[Image.Image]) -> tuple[np.ndarray, list[str], list[int]]:
    return generator.embed_images(images), [""] * 4, [5, 6, 7, 8]


@pytest.fixture(scope="module")
def whole(generator: Any, rows: Any) -> np.ndarray:
    made: np.ndarray = generator.generate(*rows)
    return made


def test_images_of_another_size(checkpoint: Checkpoint, generator: Any, rows: Any) -> None:
    larger = SAMPLER.model_copy(update={"size": 128})
    assert generator.resampled(larger).generate(*rows).shape == (4, 128, 128, 3)
    # The pipeline would make 128 of it.
    with pytest.raises(GeneratorError, match=r"^sampler\.size: is 72, this model needs a multiple of 64$"):
        check_recipe(checkpoint, recipe_of(SAMPLER.model_copy(update={"size": 72}), prompt=""))


def test_what_is_known_without_loading(checkpoint: Checkpoint) -> None:
    assert (image_edge(checkpoint, SAMPLER), embedding_shape(checkpoint)) == (
        kandinsky.EDGE,
        (kandinsky.SIZE,),
    )


def test_embeddings_and_the_null_are_those_of_the_stock_prior(
    generator: Any, prior: Path, images: list[Image.Image], rows: Any
) -> None:
    from diffusers import KandinskyV22PriorPipeline

    stock = KandinskyV22PriorPipeline.from_pretrained(prior)
    with torch.no_grad():
        np.testing.assert_array_equal(generator.null_embedding, stock.get_zero_embed()[0].numpy())
        pixels = stock.image_processor(images, return_tensors="pt").pixel_values
        np.testing.assert_array_equal(rows[0], stock.image_encoder(pixels).image_embeds.numpy())
    assert np.abs(generator.null_embedding).min() > 0


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("scheduler", KandinskyGenerator.SCHEDULERS)
def test_images_are_those_of_the_stock_pipeline(
    decoder: Path, generator: Any, rows: Any, guidance: float, scheduler: str
) -> None:
    """Called as its documentation does. Another scheduler than its own has to be told of no variance."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, KandinskyV22Pipeline
    from diffusers import UniPCMultistepScheduler as UniPC

    stock = KandinskyV22Pipeline.from_pretrained(decoder)
    others = {"ddim": DDIMScheduler, "dpm-solver++": DPMSolverMultistepScheduler, "unipc": UniPC}
    if scheduler in others:
        stock.scheduler = others[scheduler].from_config({**kandinsky.NOISE, "timestep_spacing": "leading"})
    if scheduler == "unipc":
        # The pipeline gives it generators, for which it has no use.
        step = stock.scheduler.step
        stock.scheduler.step = lambda *given, generator: step(*given)  # noqa: PLW0108
    made = stock(
        image_embeds=torch.from_numpy(rows[0]),
        negative_image_embeds=torch.from_numpy(generator.null_embedding).expand(4, -1),
        generator=[torch.Generator().manual_seed(seed) for seed in rows[2]],
        num_inference_steps=SAMPLER.steps,
        guidance_scale=guidance,
        height=kandinsky.EDGE,
        width=kandinsky.EDGE,
        output_type="np",
    ).images
    sampler = SAMPLER.model_copy(update={"guidance_scale": guidance, "scheduler": scheduler})
    mine = generator.resampled(sampler).generate(*rows)
    np.testing.assert_array_equal(np.rint(made * 255).astype(np.uint8), mine)
    assert mine.reshape(4, -1).std(axis=1).min() > 5


@pytest.mark.parametrize("scheduler", sorted({*KandinskyGenerator.SCHEDULERS} - {"ddim"}))
def test_an_image_depends_on_its_row_alone(generator: Any, rows: Any, scheduler: str) -> None:
    sampled = generator.resampled(SAMPLER.model_copy(update={"scheduler": scheduler, "steps": 2}))
    embeddings, prompts, seeds = rows
    # With ddim, and more of this, by synthkit.conformance.
    whole = sampled.generate(*rows)
    np.testing.assert_array_equal(sampled.generate(*rows), whole)
    # Another place in the batch, other neighbours, copies of itself as padding.
    order = [2, 0]
    np.testing.assert_array_equal(
        sampled.generate(embeddings[order], [""] * 2, [seeds[row] for row in order]), whole[order]
    )
    other = np.roll(embeddings, 1, axis=0)
    other[2] = embeddings[2]
    np.testing.assert_array_equal(sampled.generate(other, prompts, [1, 2, seeds[2], 4])[2], whole[2])
    for changed in (
        sampled.generate(embeddings[::-1].copy(), prompts, seeds),
        sampled.generate(embeddings, prompts, [seed + 1 for seed in seeds]),
    ):
        assert (changed != whole).reshape(4, -1).any(axis=1).all()


def test_the_variance_is_kept_from_one_scheduler_to_another(generator: Any, rows: Any, whole: Any) -> None:
    """The UNet predicts it, and the model's own scheduler draws by it: ddim in between forgets nothing."""
    other = generator.resampled(SAMPLER.model_copy(update={"scheduler": "ddim"}))
    again = other.resampled(SAMPLER)
    np.testing.assert_array_equal(again.generate(*rows), whole)
    assert generator._pipeline.scheduler.config.variance_type == "learned_range"


def test_a_random_step_is_computed_in_float32(generator: Any) -> None:
    """Its noise with it: of a narrow model, the sum alone is rounded."""
    scheduler = generator.resampled(SAMPLER)._pipeline.scheduler
    predicted, sample = torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    step = scheduler.timesteps[0]

    def stepped(predicted: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = scheduler.step(
            predicted, step, sample[:, :4], generator=[torch.Generator().manual_seed(1)]
        )[0]
        return made

    narrow, wide = stepped(predicted, sample), stepped(predicted.float(), sample.float())
    assert (narrow.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    assert narrow.equal(wide.bfloat16())


def test_bfloat16_makes_nearly_the_same(checkpoint: Checkpoint, rows: Any, whole: Any) -> None:
    """A seed is the same noise in every type."""
    narrow = load(checkpoint, dtype="bfloat16")
    images = narrow.generate(*rows)
    error = np.mean((images.astype(float) - whole) ** 2)
    assert 10 * np.log10(255**2 / error) > 30


@pytest.mark.parametrize(
    "arithmetic",
    [
        Arithmetic(channels_last=True),
        Arithmetic(attention="math"),
        pytest.param(Arithmetic(compile=True), marks=pytest.mark.slow),
    ],
    ids=lambda option: str(option.model_dump(exclude_defaults=True)),
)
def test_other_arithmetic_makes_nearly_the_same(
    checkpoint: Checkpoint, rows: Any, whole: Any, arithmetic: Arithmetic
) -> None:
    other = load(checkpoint, arithmetic=arithmetic)
    images = other.generate(*rows)
    assert np.abs(images.astype(int) - whole).max() <= 2
    np.testing.assert_array_equal(other.generate(*rows), images)


@pytest.mark.parametrize(
    ("option", "kind"), [("vae_slicing", "VQModel"), ("fused_projections", "UNet2DConditionModel")]
)
def test_arithmetic_that_a_component_does_not_have(checkpoint: Checkpoint, option: str, kind: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        load(checkpoint, arithmetic=Arithmetic.model_validate({option: True}))
    told = f"arithmetic.{option}: this model's {kind} does not have it; set it to false"
    assert str(caught.value) == told


def test_a_unet_without_blocks_that_repeat(checkpoint: Checkpoint) -> None:
    told = r"^arithmetic\.compile: this model's UNet2DConditionModel has no blocks that are known to repeat; "
    with pytest.raises(GeneratorError, match=told):
        load(checkpoint, arithmetic=Arithmetic(compile="blocks"))


def test_every_step_is_told(generator: Any, rows: Any) -> None:
    steps: list[int] = []
    again = generator.resampled(SAMPLER)
    again.on_step = lambda: steps.append(1)
    again.generate(*rows)
    assert len(steps) == SAMPLER.steps


def test_an_encoder_of_another_model(decoder: Path, prior: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prior, tmp_path / "copy"))
    config = copy / "image_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"projection_dim": 24}))
    assert refused(decoder, Encoder(id=str(copy))) == (
        "model.encoder: makes embeddings of 24 numbers, the model takes 40; "
        "name the image encoder of its prior"
    )
    shutil.rmtree(copy / "image_processor")
    assert refused(decoder, Encoder(id=str(copy))).startswith(
        "model.encoder: has no image_processor/preprocessor_config.json beside its folder; "
    )
    assert refused(decoder, None).startswith("model.encoder: is missing; ")
    facts = json.loads(config.read_text())
    config.write_text(json.dumps({name: facts[name] for name in facts if name != "projection_dim"}))
    shutil.copytree(prior / "image_processor", copy / "image_processor")
    assert refused(decoder, Encoder(id=str(copy))) == (
        "model.encoder: image_encoder/config.json does not state projection_dim, so it is of another kind"
    )


def test_weights_that_are_missing_are_not_made_up(decoder: Path, prior: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prior, tmp_path / "copy"))
    weights = copy / "image_encoder" / "model.safetensors"
    tensors = load_file(weights)
    del tensors["visual_projection.weight"]
    save_file(tensors, weights, {"format": "pt"})
    assert refused(decoder, Encoder(id=str(copy))) == (
        "model kandinsky-2-2-decoder: cannot be loaded: the weights in image_encoder lack "
        "visual_projection.weight of CLIPVisionModelWithProjection"
    )


def refused(decoder: Path, encoder: Encoder | None) -> str:
    with pytest.raises(GeneratorError) as caught:
        load(locate(Model(id=str(decoder), encoder=encoder)))
    return str(caught.value)


RECIPE = """\
name: small
source: {kind: digits, max_per_class: 3}
prompt: ""
synthetic_per_class: 1
conditioning: {method: METHOD}
model: {id: DECODER, encoder: {id: PRIOR}}
sampler: {scheduler: ddpm, steps: 2, guidance_scale: 2.0, batch_size: 4}
output: {size: 32}
"""


@pytest.mark.parametrize("method", ["embed-cutmix-dropout", pytest.param("mixup", marks=pytest.mark.slow)])
def test_a_release_is_built_verified_and_made_again(
    decoder: Path, prior: Path, tmp_path: Path, method: str
) -> None:
    cli = Cli(tmp_path)
    recipe = RECIPE.replace("DECODER", str(decoder)).replace("PRIOR", str(prior)).replace("METHOD", method)
    (tmp_path / "recipe.yaml").write_text(recipe)
    for command in (
        ("build", "recipe.yaml", "--workers", "1"),
        ("verify", "releases/small"),
        ("replay", "releases/small", "3"),
    ):
        result = cli(*command)
        assert result.exit_code == 0, result.output
    assert "000000003: identical" in result.output
