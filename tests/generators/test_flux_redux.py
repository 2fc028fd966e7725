"""FLUX.1-schnell with Redux: tokens of an image after those of a prompt, or the prompt's alone."""

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
from synthkit.generators.device_memory import largest_batch
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.model import Encoder, Model
from synthkit.recipe.sampler import Sampler
from tests.conftest import Cli
from tests.helpers import miniature_flux as flux
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="flow-euler", steps=2, guidance_scale=1.0, batch_size=4, size=flux.SMALL)
ONE = SAMPLER.model_copy(update={"batch_size": 1})
PROMPTS = ["zero", "a photo of one", "two", "three"]
SEEDS = [5, 6, 7, 8]


@pytest.fixture(scope="module")
def checkpoint(schnell: Path, redux: Path) -> Checkpoint:
    return located(schnell, redux)


def located(schnell: Path, redux: Path) -> Checkpoint:
    return locate(Model(id=str(schnell), encoder=Encoder(id=str(redux))))


@pytest.fixture(scope="module")
def generator(checkpoint: Checkpoint) -> Any:
    return load_on_cpu(checkpoint, SAMPLER)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (70, 60, 3), np.uint8)) for _ in range(4)]


@pytest.fixture(scope="module")
def tokens(generator: Any, images: list[Image.Image]) -> np.ndarray:
    made: np.ndarray = generator.embed_images(images)
    return made


@pytest.fixture(scope="module")
def whole(generator: Any, tokens: np.ndarray) -> np.ndarray:
    made: np.ndarray = generator.generate(tokens, PROMPTS, SEEDS)
    return made


@pytest.fixture(scope="module")
def stock(schnell: Path) -> Any:
    from diffusers import FluxPipeline

    pipeline = FluxPipeline.from_pretrained(schnell)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def by_stock(pipeline: Any, seed: int, **conditions: Any) -> np.ndarray:
    """One image, called as the documentation does."""
    images = pipeline(
        **conditions,
        generator=torch.Generator().manual_seed(seed),
        num_inference_steps=SAMPLER.steps,
        guidance_scale=0.0,
        height=flux.SMALL,
        width=flux.SMALL,
        max_sequence_length=256,
        output_type="pil",
    ).images
    return np.asarray(images[0])


def test_what_is_known_without_loading(checkpoint: Checkpoint) -> None:
    own = SAMPLER.model_copy(update={"size": None})
    assert (image_edge(checkpoint, own), embedding_shape(checkpoint)) == (1024, (flux.TOKENS, flux.SIZE))


def test_images_of_another_size(checkpoint: Checkpoint, generator: Any, tokens: np.ndarray) -> None:
    larger = generator.resampled(ONE.model_copy(update={"size": flux.SMALL + 16}))
    assert larger.generate(tokens[:1], PROMPTS[:1], SEEDS[:1]).shape[1:3] == (flux.SMALL + 16,) * 2
    # The pipeline would make 16 less of it.
    with pytest.raises(GeneratorError, match=r"^sampler\.size: is 24, this model needs a multiple of 16$"):
        check_recipe(checkpoint, recipe_of(SAMPLER.model_copy(update={"size": 24})))


def test_an_image_with_a_prompt_is_that_of_the_two_stock_pipelines(
    stock: Any, redux: Path, checkpoint: Checkpoint, images: list[Image.Image]
) -> None:
    """The prior takes 512 tokens of a prompt; schnell was made for 256, so they are encoded before it."""
    from diffusers import FluxPriorReduxPipeline

    encoders = {name: getattr(stock, name) for name in ("text_encoder", "text_encoder_2")}
    prior = FluxPriorReduxPipeline.from_pretrained(redux, tokenizer=None, tokenizer_2=None, **encoders)
    text, pooled, _ = stock.encode_prompt(PROMPTS[1], max_sequence_length=256)
    conditions = prior(images[1], prompt_embeds=text, pooled_prompt_embeds=pooled)
    assert conditions.prompt_embeds.shape == (1, 256 + flux.TOKENS, 32)
    generator = load_on_cpu(checkpoint, ONE)
    mine = generator.generate(generator.embed_images(images[1:2]), PROMPTS[1:2], SEEDS[1:2])
    np.testing.assert_array_equal(mine[0], by_stock(stock, SEEDS[1], **conditions))


def test_without_an_image_it_is_the_stock_pipeline_of_the_prompt(
    stock: Any, generator: Any, checkpoint: Checkpoint, tokens: np.ndarray
) -> None:
    one = load_on_cpu(checkpoint, ONE)
    mine = one.generate(one.null_embedding[None], PROMPTS[1:2], SEEDS[1:2])
    np.testing.assert_array_equal(mine[0], by_stock(stock, SEEDS[1], prompt=PROMPTS[1]))
    # Not what Redux makes of nearly nothing.
    nearly = one.generate(np.full_like(tokens[:1], 1e-6), PROMPTS[1:2], SEEDS[1:2])
    assert (nearly != mine).any()
    assert generator.null_embedding.shape == (flux.TOKENS, flux.SIZE)


def test_the_time_is_shifted_as_the_models_configuration_says(
    schnell: Path, redux: Path, tmp_path: Path
) -> None:
    """By the size of the image, in models that learned it so."""
    from diffusers import FluxPipeline

    copy = Path(shutil.copytree(schnell, tmp_path / "copy", ignore=shutil.ignore_patterns("*.bin", "*fp16*")))
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_dynamic_shifting": True}))
    generator = load_on_cpu(located(copy, redux), ONE)
    mine = generator.generate(generator.null_embedding[None], ["two"], [3])
    stock = FluxPipeline.from_pretrained(copy)
    np.testing.assert_array_equal(mine[0], by_stock(stock, 3, prompt="two"))
    assert stock.scheduler.timesteps.tolist() == generator._pipeline.scheduler.timesteps.tolist()


def test_images_with_and_without_an_image_in_one_batch(
    generator: Any, tokens: np.ndarray, whole: np.ndarray
) -> None:
    """Sequences of two lengths: neither kind depends on the other."""
    none = generator.generate(np.zeros_like(tokens), PROMPTS, SEEDS)
    mixed = tokens.copy()
    mixed[[0, 3]] = generator.null_embedding
    made = generator.generate(mixed, PROMPTS, SEEDS)
    np.testing.assert_array_equal(made, np.stack([none[0], whole[1], whole[2], none[3]]))
    assert (none != whole).reshape(4, -1).any(axis=1).all()


def test_bfloat16_makes_nearly_the_same(
    checkpoint: Checkpoint, tokens: np.ndarray, whole: np.ndarray
) -> None:
    """A seed is the same noise in every type."""
    narrow = load_on_cpu(checkpoint, SAMPLER, dtype="bfloat16")
    error = np.mean((narrow.generate(tokens, PROMPTS, SEEDS).astype(float) - whole) ** 2)
    assert 10 * np.log10(255**2 / error) > 30


@pytest.mark.parametrize(
    "arithmetic",
    [
        Arithmetic(channels_last=True),
        Arithmetic(attention="math"),
        Arithmetic(attention="flash"),
        Arithmetic(fused_projections=True),
        Arithmetic(vae_slicing=True),
        pytest.param(Arithmetic(compile=True), marks=pytest.mark.slow),
        pytest.param(Arithmetic(compile="blocks"), marks=pytest.mark.slow),
    ],
    ids=lambda option: str(option.model_dump(exclude_defaults=True)),
)
def test_other_arithmetic_makes_nearly_the_same(
    checkpoint: Checkpoint, tokens: np.ndarray, whole: np.ndarray, arithmetic: Arithmetic
) -> None:
    other = load_on_cpu(checkpoint, SAMPLER, arithmetic=arithmetic)
    made = other.generate(tokens, PROMPTS, SEEDS)
    assert np.abs(made.astype(int) - whole).max() <= 2
    np.testing.assert_array_equal(other.generate(tokens, PROMPTS, SEEDS), made)


def test_attention_that_the_device_does_not_have(checkpoint: Checkpoint) -> None:
    with pytest.raises(GeneratorError, match=r"^arithmetic\.attention: cudnn has no kernel .*use sdpa"):
        load_on_cpu(checkpoint, SAMPLER, arithmetic=Arithmetic(attention="cudnn"))


def test_a_prompt_is_as_long_as_t5_reads_it(generator: Any, tokens: np.ndarray) -> None:
    """One token a letter here; CLIP's summary stops at 32 tokens and refuses nothing."""
    assert len(generator._pipeline.tokenizer("seven " * 40).input_ids) > 32
    generator.check_prompts(["seven " * 40])
    with pytest.raises(GeneratorError, match=r"has 302 tokens, the model reads 256; shorten the prompt"):
        generator.check_prompts(["zero", "z" * 300])
    # What comes after CLIP's end shows.
    long = ["seven " * 20 + end for end in ("zero", "one")]
    made = generator.generate(tokens[[0, 0]], long, [1, 1])
    assert (made[0] != made[1]).any()


def test_the_batch_size_is_measured_with_an_image(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a pretended GPU: without an image the transformer would have fewer tokens to attend to."""
    seen: set[int] = set()
    forward = generator._pipeline.transformer.forward

    def watched(**named: Any) -> Any:
        seen.add(named["encoder_hidden_states"].shape[1])
        return forward(**named)

    monkeypatch.setattr(generator._pipeline.transformer, "forward", watched)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 100)
    total = type("Properties", (), {"total_memory": 101})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: total)
    assert largest_batch(generator, SAMPLER, "cuda") == 1
    assert seen == {256 + flux.TOKENS}


def test_every_step_is_told(generator: Any, tokens: np.ndarray) -> None:
    steps: list[int] = []
    again = generator.resampled(SAMPLER.model_copy(update={"steps": 3}))
    again.on_step = lambda: steps.append(1)
    again.generate(tokens[:1], ["zero"], [1])
    assert len(steps) == 3


@pytest.mark.parametrize(
    ("sampler", "told"),
    [
        ({"scheduler": "pndm"}, "sampler.scheduler: this model cannot use pndm; use flow-euler"),
        ({"guidance_scale": 2.0}, "sampler.guidance_scale: is 2.0, this model needs 1.0"),
        ({"noise_level": 3}, "sampler.noise_level: is 3, this model needs 0"),
    ],
)
def test_what_the_model_cannot_do(checkpoint: Checkpoint, sampler: dict[str, Any], told: str) -> None:
    assert refused(checkpoint, SAMPLER.model_copy(update=sampler)) == told


def refused(checkpoint: Checkpoint, sampler: Sampler = SAMPLER) -> str:
    with pytest.raises(GeneratorError) as caught:
        load_on_cpu(checkpoint, sampler)
    return str(caught.value)


def test_models_that_do_not_fit(schnell: Path, redux: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(redux, tmp_path / "redux"))
    encoder, network = (copy / name / "config.json" for name in ("image_encoder", "image_embedder"))
    whole = network.read_text()
    network.write_text(json.dumps(json.loads(whole) | {"txt_in_features": 4096}))
    assert refused(located(schnell, copy)) == (
        "model.encoder: makes tokens of 4096 numbers, the model takes 32"
    )
    network.write_text(whole)
    encoder.write_text(json.dumps(json.loads(encoder.read_text()) | {"hidden_size": 1152}))
    assert refused(located(schnell, copy)) == (
        "model.encoder: makes tokens of 1152 numbers, its image_embedder takes 24"
    )
    shutil.rmtree(copy / "image_embedder")
    assert refused(located(schnell, copy)) == (
        "model.encoder: has no image_embedder/config.json beside its folder; "
        "name the repository of FLUX.1 Redux"
    )
    shutil.copytree(redux / "image_embedder", copy / "image_embedder")
    weights = copy / "image_embedder" / "diffusion_pytorch_model.safetensors"
    save_file({"redux_up.weight": load_file(weights)["redux_up.weight"]}, weights, {"format": "pt"})
    shutil.copytree(redux / "image_encoder", copy / "image_encoder", dirs_exist_ok=True)
    assert refused(located(schnell, copy)).endswith(
        "the weights in image_embedder lack redux_down.bias and 2 more of ReduxImageEncoder"
    )
    dev = flux.schnell(tmp_path / "dev", guidance=True)
    assert refused(located(dev, redux)).startswith("model.id: is FLUX.1-dev or made of it, ")


RECIPE = """\
name: small
source: {kind: digits, max_per_class: 3}
synthetic_per_class: 1
conditioning: METHOD
model: {id: SCHNELL, encoder: {id: REDUX}}
sampler: {scheduler: flow-euler, steps: 1, guidance_scale: 1, batch_size: 4, size: 32}
output: {size: 32}
"""


@pytest.mark.parametrize(
    "method",
    [
        "{method: embed-cutmix-dropout, drops: tokens}",
        "{method: text-only}",
        pytest.param("{method: mixup}", marks=pytest.mark.slow),
    ],
)
def test_a_release_is_built_verified_and_made_again(
    schnell: Path, redux: Path, tmp_path: Path, method: str
) -> None:
    cli = Cli(tmp_path)
    recipe = RECIPE.replace("SCHNELL", str(schnell)).replace("REDUX", str(redux)).replace("METHOD", method)
    (tmp_path / "recipe.yaml").write_text(recipe)
    for command in (
        ("build", "recipe.yaml", "--workers", "1"),
        ("verify", "releases/small"),
        ("replay", "releases/small", "3"),
    ):
        result = cli(*command)
        assert result.exit_code == 0, result.output
    assert "000000003: identical" in result.output
