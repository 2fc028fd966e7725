"""The generator: an image depends on its own row and the batch's shape, and is what diffusers makes."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthkit.errors import GeneratorError
from synthkit.generators import embedding_shape, image_edge
from synthkit.generators.base import OutOfMemory
from synthkit.generators.checkpoint import BUILTIN, Checkpoint, locate
from synthkit.generators.model_hashes import content_revision
from synthkit.generators.schedulers import DETERMINISTIC
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource
from tests.helpers.generating import load_on_cpu

SAMPLER = Sampler(steps=4, guidance_scale=2.0, batch_size=8)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return locate(Model(id="builtin:tiny-unclip-digits"))


@pytest.fixture(scope="module")
def generator(checkpoint: Checkpoint) -> Any:
    return load_on_cpu(checkpoint, SAMPLER)


@pytest.fixture(scope="module")
def rows(generator: Any) -> tuple[np.ndarray, list[str], list[int]]:
    """Eight embeddings, prompts and seeds."""
    source = DigitsSource("test")
    positions = range(0, 240, 30)
    embeddings = generator.embed_images([load_image(source, position) for position in positions])
    prompts = [CLASSES[source.listing.labels[position]] for position in positions]
    return embeddings, prompts, list(range(100, 108))


@pytest.fixture(scope="module")
def whole(generator: Any, rows: Any) -> np.ndarray:
    """The images of the eight rows."""
    images: np.ndarray = generator.generate(*rows)
    return images


def test_images_are_uint8_of_the_models_size(
    generator: Any, whole: np.ndarray, checkpoint: Checkpoint
) -> None:
    assert (whole.shape, whole.dtype) == ((8, 32, 32, 3), np.uint8)
    assert whole.reshape(8, -1).std(axis=1).min() > 10
    assert image_edge(checkpoint, SAMPLER) == 32
    assert embedding_shape(checkpoint) == generator.embedding_shape == (128,)


def test_order_neighbours_and_padding_change_no_bit(generator: Any, rows: Any, whole: np.ndarray) -> None:
    embeddings, prompts, seeds = rows
    order = [5, 2, 7, 0]
    some = generator.generate(embeddings[order], [prompts[i] for i in order], [seeds[i] for i in order])
    np.testing.assert_array_equal(some, whole[order])
    alone = generator.generate(embeddings[3:4], prompts[3:4], seeds[3:4])
    np.testing.assert_array_equal(alone[0], whole[3])


def test_the_number_of_threads_changes_no_bit(generator: Any, rows: Any) -> None:
    before = torch.get_num_threads()
    images = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            images.append(generator.generate(*rows))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*images)


def test_an_embedding_does_not_depend_on_its_neighbours(generator: Any, rows: Any) -> None:
    source = DigitsSource("test")
    images = [load_image(source, position) for position in range(0, 240, 30)]
    np.testing.assert_array_equal(generator.embed_images(images[6:]), rows[0][6:])
    assert generator.embed_images(images * 2).shape == (16, 128)


def test_seed_prompt_and_embedding_all_matter(generator: Any, rows: Any, whole: np.ndarray) -> None:
    embeddings, prompts, seeds = rows
    for changed in (
        generator.generate(embeddings, prompts, [seed + 1 for seed in seeds]),
        generator.generate(embeddings, prompts[1:] + prompts[:1], seeds),
        generator.generate(embeddings[::-1].copy(), prompts, seeds),
    ):
        assert (changed != whole).reshape(8, -1).any(axis=1).all()


@pytest.fixture(scope="module")
def stock_pipeline() -> Any:
    from diffusers import StableUnCLIPImg2ImgPipeline

    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(BUILTIN["tiny-unclip-digits"], dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("guidance", [1.0, 2.0, 10.0])
def test_the_images_are_those_of_the_stock_pipeline(
    generator: Any, stock_pipeline: Any, guidance: float
) -> None:
    """Called as its documentation does: images and prompts in, PIL out."""
    ours = generator.resampled(SAMPLER.model_copy(update={"guidance_scale": guidance}))
    source = DigitsSource("test")
    real = [load_image(source, position) for position in range(8)]
    mine = ours.generate(ours.embed_images(real), ["zero"] * 8, list(range(8)))
    stock = stock_pipeline(
        image=real,
        prompt=["zero"] * 8,
        generator=[torch.Generator().manual_seed(seed) for seed in range(8)],
        num_inference_steps=4,
        guidance_scale=guidance,
        noise_level=0,
    ).images
    difference = np.abs(np.stack([np.asarray(image) for image in stock]).astype(int) - mine)
    # Prompts are encoded one by one here, in a batch there: the last bit of a grey level may differ.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_every_scheduler_makes_digits(generator: Any, rows: Any, name: str) -> None:
    sampler = Sampler(scheduler=name, steps=12, guidance_scale=2.0, batch_size=8)
    images = generator.resampled(sampler).generate(*rows)
    dark, bright = (images < 40).mean(), (images > 150).mean()
    assert dark > 0.2
    assert 0.05 < bright < 0.6


def test_bfloat16_makes_nearly_the_same(checkpoint: Checkpoint, rows: Any, whole: np.ndarray) -> None:
    narrow = load_on_cpu(checkpoint, SAMPLER, dtype="bfloat16")
    assert narrow.embed_images([load_image(DigitsSource("test"), 0)]).dtype == np.float32
    # A seed is the same noise in every type: what is left is rounding.
    assert psnr(narrow.generate(*rows), whole) > 35


def psnr(images: np.ndarray, reference: np.ndarray) -> float:
    error = np.mean((images.astype(float) - reference) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


OPTIONS = [
    pytest.param(Arithmetic(channels_last=True), marks=pytest.mark.slow),
    Arithmetic(attention="flash"),
    pytest.param(Arithmetic(attention="math"), marks=pytest.mark.slow),
    Arithmetic(fused_projections=True),
    pytest.param(Arithmetic(vae_slicing=True), marks=pytest.mark.slow),
    pytest.param(Arithmetic(tf32=True), marks=pytest.mark.slow),
    pytest.param(Arithmetic(compile=True, channels_last=True), marks=pytest.mark.slow),
    pytest.param(Arithmetic(compile="blocks"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize(
    "arithmetic", OPTIONS, ids=lambda option: str(option.model_dump(exclude_defaults=True))
)
def test_other_arithmetic_makes_nearly_the_same_and_the_same_every_time(
    checkpoint: Checkpoint, rows: Any, whole: np.ndarray, arithmetic: Arithmetic
) -> None:
    if arithmetic.compile and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    embeddings, prompts, seeds = rows
    other = load_on_cpu(checkpoint, SAMPLER, arithmetic=arithmetic)
    images = other.generate(*rows)
    assert np.abs(images.astype(int) - whole).max() <= 2
    assert psnr(images, whole) >= 40
    np.testing.assert_array_equal(other.generate(*rows), images)
    alone = other.generate(embeddings[3:4], prompts[3:4], seeds[3:4])
    np.testing.assert_array_equal(alone[0], images[3])


@pytest.mark.slow
def test_shapes_without_room_for_their_code_are_told(
    checkpoint: Checkpoint, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch would compute them without compiling: then bits would depend on which shapes came first."""
    torch._dynamo.reset()
    monkeypatch.setattr("synthkit.generators.arithmetic._MOST_SHAPES", 1)
    compiled = load_on_cpu(checkpoint, SAMPLER, arithmetic=Arithmetic(compile="blocks"))
    compiled.generate(*rows)
    half = compiled.resampled(SAMPLER.model_copy(update={"guidance_scale": 1.0}))
    with pytest.raises(GeneratorError, match=r"^arithmetic\.compile: more than 1 shapes would be compiled; "):
        half.generate(*rows)


@pytest.mark.parametrize("attention", ["cudnn", "efficient"])
def test_attention_that_the_device_does_not_have(checkpoint: Checkpoint, attention: Any) -> None:
    with pytest.raises(GeneratorError, match=rf"arithmetic.attention: {attention} has no kernel .*use sdpa"):
        load_on_cpu(checkpoint, SAMPLER, arithmetic=Arithmetic(attention=attention))


def test_every_step_is_told(checkpoint: Checkpoint, rows: Any) -> None:
    generator = load_on_cpu(checkpoint, SAMPLER)
    steps: list[int] = []
    generator.on_step = lambda: steps.append(1)
    generator.generate(*rows)
    # PNDM takes its second step twice.
    assert len(steps) == SAMPLER.steps + 1


@pytest.mark.parametrize("scheduler", DETERMINISTIC)
def test_another_sampler_for_the_same_model(
    checkpoint: Checkpoint, generator: Any, rows: Any, whole: np.ndarray, scheduler: str
) -> None:
    sampler = SAMPLER.model_copy(update={"scheduler": scheduler, "steps": 2})
    other = generator.resampled(sampler).generate(*rows)
    fresh = load_on_cpu(checkpoint, sampler).generate(*rows)
    np.testing.assert_array_equal(other, fresh)
    np.testing.assert_array_equal(generator.generate(*rows), whole)


@pytest.mark.parametrize(
    ("arithmetic", "size", "told"),
    [
        (Arithmetic(), 8, "batches of 8: lower sampler.batch_size or set arithmetic.vae_slicing"),
        (Arithmetic(vae_slicing=True), 8, "batches of 8: lower sampler.batch_size"),
        (Arithmetic(), 1, "batches of 1: set arithmetic.vae_slicing"),
        (Arithmetic(vae_slicing=True), 1, "batches of 1: use a device with more, or a smaller model"),
    ],
)
def test_too_little_memory_names_the_settings(
    checkpoint: Checkpoint, rows: Any, arithmetic: Arithmetic, size: int, told: str
) -> None:
    sampler = SAMPLER.model_copy(update={"batch_size": size})
    generator = load_on_cpu(checkpoint, sampler, arithmetic=arithmetic)

    def full() -> None:
        raise torch.OutOfMemoryError

    generator.on_step = full
    with pytest.raises(OutOfMemory) as caught:
        generator.generate(*(column[:size] for column in rows))
    assert str(caught.value).endswith(told)


@pytest.mark.parametrize(
    ("dtype", "told"),
    [
        ("float32", "in float32, so its files are damaged, or it does not bear sampler.scheduler=pndm, "),
        ("bfloat16", "model.dtype may be too narrow for it: use float32"),
    ],
)
def test_values_that_are_not_numbers(checkpoint: Checkpoint, rows: Any, dtype: str, told: str) -> None:
    """The advice is what is not set already; the image that has them is named."""
    sampler = Sampler(steps=1, batch_size=2)
    generator = load_on_cpu(checkpoint, sampler, dtype=dtype)
    embeddings = rows[0][:2].copy()
    embeddings[1] = np.nan
    with pytest.raises(GeneratorError) as caught:
        generator.generate(embeddings, ["one", "two"], [1, 2])
    assert str(caught.value).startswith(f"the model made values that are not numbers for 'two': {told}")


@pytest.fixture(scope="module")
def fifty(checkpoint: Checkpoint, rows: Any) -> Any:
    """Four images by a scheduler, in the default number of steps."""
    sampler = Sampler(steps=50, guidance_scale=2.0, batch_size=4)
    generator = load_on_cpu(checkpoint, sampler)

    def sample(scheduler: str) -> np.ndarray:
        resampled = generator.resampled(sampler.model_copy(update={"scheduler": scheduler}))
        return resampled.generate(*(column[:4] for column in rows)).astype(float)

    return functools.cache(sample)


@pytest.mark.parametrize(
    "scheduler",
    [
        "ddim",
        *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*DETERMINISTIC} - {"pndm", "ddim"})),
    ],
)
def test_schedulers_agree_in_the_limit_of_many_steps(fifty: Any, scheduler: str) -> None:
    pairs = zip(fifty(scheduler), fifty("pndm"), strict=True)
    assert min(psnr(*pair) for pair in pairs) > 35


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 5.0, 10.0])
@pytest.mark.parametrize("scheduler", sorted({*DETERMINISTIC} - {"pndm"}))
def test_schedulers_agree_on_many_images(checkpoint: Checkpoint, scheduler: str, guidance: float) -> None:
    source = DigitsSource("test")
    sampler = Sampler(steps=50, guidance_scale=guidance, batch_size=8)
    generator = load_on_cpu(checkpoint, sampler)
    other = generator.resampled(sampler.model_copy(update={"scheduler": scheduler}))
    for first in range(3):
        real = [load_image(source, first + 30 * row) for row in range(8)]
        given = (
            generator.embed_images(real),
            [CLASSES[row] for row in range(8)],
            range(8 * first, 8 * first + 8),
        )
        assert psnr(generator.generate(*given), other.generate(*given)) > 35


def test_what_a_model_says_of_clipping_is_obeyed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(BUILTIN["tiny-unclip-digits"], tmp_path / "copy"))
    config = copy / "scheduler" / "scheduler_config.json"
    facts = json.loads(config.read_text())
    sampler = Sampler(steps=4, scheduler="ddim")
    clipped = []
    for more in ({}, {"clip_sample": False}, {"clip_sample": True}):
        config.write_text(json.dumps({**facts, **more}))
        loaded: Any = load_on_cpu(locate(Model(id=str(copy))), sampler)
        clipped.append(loaded._pipeline.scheduler.config.clip_sample)
    assert clipped == [False, False, True]


@pytest.mark.parametrize("index", [{}, {"size": "large"}, {"size": None}])
def test_flat_colours_of_no_size(tmp_path: Path, index: dict[str, Any]) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FlatColours", **index}))
    told = f"model {tmp_path.name}: its model_index.json needs a size, the edge of images in pixels"
    with pytest.raises(GeneratorError, match=told):
        load_on_cpu(locate(Model(id=str(tmp_path))), SAMPLER)


def test_the_revision_of_a_folder_is_its_content(checkpoint: Checkpoint, tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(BUILTIN["tiny-unclip-digits"], copy)
    assert content_revision(copy) == checkpoint.revision
    (copy / "notes.md").write_text("not a part of the model")
    assert content_revision(copy) == checkpoint.revision
    config = copy / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 16}))
    assert content_revision(copy) != checkpoint.revision


@pytest.mark.parametrize("name", ["tiny-unclip-digits", "tiny-unclip-glyphs"])
def test_an_embedded_model_is_small_safe_and_tells_no_path(name: str) -> None:
    files = [path for path in BUILTIN[name].rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 10_000_000
    assert {path.suffix for path in files} <= {".json", ".txt", ".safetensors", ".md"}
    for path in files:
        if path.suffix == ".json":
            assert '_name_or_path": "/' not in path.read_text()
            assert "/tmp" not in path.read_text()
