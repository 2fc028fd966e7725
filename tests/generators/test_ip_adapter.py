"""IP-Adapter on Stable Diffusion 1.5 and XL: what diffusers makes of one image, with a weight for each."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe, embedding_shape, family_of, image_edge
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.sampler import Sampler
from tests.helpers.adapters import ADAPTERS, Family, photos

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=3)
PROMPTS, SEEDS = ["zero", "one", "two"], [5, 6, 7]


@pytest.fixture(scope="module", params=ADAPTERS, ids=lambda adapter: adapter.name)
def family(request: pytest.FixtureRequest, sd15: Path, sdxl: Path, ip_adapters: Path) -> Family:
    return Family(request.param, sd15, sdxl, ip_adapters)


@pytest.fixture(scope="module")
def generator(family: Family) -> Any:
    return family.load(SAMPLER)


@pytest.fixture(scope="module")
def embeddings(generator: Any) -> np.ndarray:
    embedded: np.ndarray = generator.embed_images(photos(3))
    return embedded


@pytest.fixture(scope="module")
def images(generator: Any, embeddings: np.ndarray) -> np.ndarray:
    made: np.ndarray = generator.generate(embeddings, PROMPTS, SEEDS)
    return made


def test_what_is_known_without_loading(family: Family, generator: Any, images: np.ndarray) -> None:
    assert family_of(family.checkpoint) is type(generator) is family.kind.cls
    assert embedding_shape(family.checkpoint) == generator.embedding_shape
    assert len(generator.embedding_shape) == (2 if "plus" in family.kind.name else 1)
    assert images.shape == (3, *[image_edge(family.checkpoint, SAMPLER)] * 2, 3)
    assert images.reshape(3, -1).std(axis=1).min() > 10


@pytest.mark.parametrize(("guidance", "size"), [(1.0, None), (3.0, 40)])
def test_an_image_is_that_of_the_stock_pipeline(
    family: Family, generator: Any, guidance: float, size: Any
) -> None:
    """Called as its documentation does: one image and one prompt in, one image out."""
    alone = SAMPLER.model_copy(update={"guidance_scale": guidance, "size": size, "batch_size": 1})
    ours = generator.resampled(alone)
    photo = photos(1)
    mine = ours.generate(ours.embed_images(photo), ["zero"], [5])[0]
    stock = family.stock_image(photo[0], "zero", 5, guidance_scale=guidance, height=size, width=size)
    assert_nearly_equal(mine, stock)


@pytest.mark.parametrize("scale", [0.0, 0.6])
def test_a_weight_of_all_rows_is_the_scale_of_the_stock_pipeline(
    family: Family, generator: Any, embeddings: np.ndarray, scale: float
) -> None:
    mine = generator.generate(embeddings, PROMPTS, SEEDS, [scale] * 3)
    for row, photo in enumerate(photos(3)):
        stock = family.stock_image(photo, PROMPTS[row], SEEDS[row], guidance_scale=2.0, scale=scale)
        assert_nearly_equal(mine[row], stock)


def test_a_weight_of_zero_is_the_model_without_an_adapter(
    family: Family, generator: Any, embeddings: np.ndarray
) -> None:
    mine = generator.generate(embeddings, PROMPTS, SEEDS, [0.0] * 3)
    stock = family.stock_image(None, PROMPTS[0], SEEDS[0], guidance_scale=2.0)
    assert_nearly_equal(mine[0], stock)


def test_a_weight_is_that_of_its_row(generator: Any, embeddings: np.ndarray, images: np.ndarray) -> None:
    weighed = generator.generate(embeddings, PROMPTS, SEEDS, [1.0, 0.3, 1.0])
    np.testing.assert_array_equal(weighed[[0, 2]], images[[0, 2]])
    assert (weighed[1] != images[1]).any()
    # The next batch without weights is again that of the scale.
    np.testing.assert_array_equal(generator.generate(embeddings, PROMPTS, SEEDS), images)
    # A short batch is padded with its last row's.
    alone = generator.generate(embeddings[1:2], PROMPTS[1:2], SEEDS[1:2], [0.3])
    np.testing.assert_array_equal(alone[0], weighed[1])


@pytest.mark.parametrize("scheduler", ["pndm", "dpm-solver++", "euler", "euler-trailing"])
def test_every_scheduler_samples_it(
    generator: Any, embeddings: np.ndarray, images: np.ndarray, scheduler: str
) -> None:
    steps: list[int] = []
    other = generator.resampled(SAMPLER.model_copy(update={"scheduler": scheduler, "guidance_scale": 1.0}))
    other.on_step = lambda: steps.append(1)
    made = other.generate(embeddings, PROMPTS, SEEDS)
    assert made.reshape(3, -1).std(axis=1).min() > 10
    assert (made != images).any()
    assert len(steps) == (3 if scheduler == "pndm" else 2)


def test_loading_asks_no_network_and_marks_no_image(
    family: Family, generator: Any, embeddings: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever package is installed. The scale that it is loaded with is the weight of all rows."""
    from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl as module

    def refuse(*given: object, **named: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(module, "is_invisible_watermark_available", lambda: True)
    scaled = family.load(SAMPLER, scale=0.3).generate(embeddings, PROMPTS, SEEDS)
    np.testing.assert_array_equal(scaled, generator.generate(embeddings, PROMPTS, SEEDS, [0.3] * 3))


@pytest.mark.slow
@pytest.mark.parametrize("compiles", [True, "blocks"])
def test_compiled_code_sees_the_weights(sd15: Path, sdxl: Path, ip_adapters: Path, compiles: Any) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    arithmetic = Arithmetic(compile=compiles)
    compiled = Family(ADAPTERS[0], sd15, sdxl, ip_adapters).load(SAMPLER, arithmetic=arithmetic)
    embeddings = compiled.embed_images(photos(3))
    made = compiled.generate(embeddings, PROMPTS, SEEDS)
    weighed = compiled.generate(embeddings, PROMPTS, SEEDS, [1.0, 0.3, 1.0])
    np.testing.assert_array_equal(weighed[[0, 2]], made[[0, 2]])
    assert (weighed[1] != made[1]).any()
    np.testing.assert_array_equal(compiled.generate(embeddings, PROMPTS, SEEDS), made)


def test_what_means_nothing_for_the_family_is_refused_by_name(family: Family) -> None:
    noisy = family.recipe(SAMPLER.model_copy(update={"noise_level": 5}))
    with pytest.raises(GeneratorError, match=r"^sampler\.noise_level: is 5, this model needs 0$"):
        check_recipe(family.checkpoint, noisy)
    # diffusers would fuse the projections of other attention, put in place of the adapter's.
    fused = family.recipe(SAMPLER, arithmetic=Arithmetic(fused_projections=True))
    with pytest.raises(
        GeneratorError, match=r"^arithmetic\.fused_projections: a model with an IP-Adapter does"
    ):
        check_recipe(family.checkpoint, fused)


def assert_nearly_equal(mine: np.ndarray, stock: Image.Image) -> None:
    """A batch and a single image differ in the last bits of their numbers."""
    difference = np.abs(np.asarray(stock).astype(int) - mine)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
