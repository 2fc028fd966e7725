"""The embedded model of rendered glyphs: handwriting is strange to it, and conditioning shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

from pretraining.tiny_unclip_glyphs.glyphs import render
from pretraining.tiny_unclip_glyphs.judge import predict, train_judge
from synthkit.generators.checkpoint import locate
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource
from tests.conftest import Cli
from tests.helpers.generating import load_on_cpu

GLYPHS = Model(id="builtin:tiny-unclip-glyphs")
SAMPLER = Sampler(steps=25, guidance_scale=2.0, batch_size=32)
PER_CLASS = 12
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def test_a_release_is_built_with_it_and_states_its_licence(cli: Cli) -> None:
    done = cli(
        *("build", cli.recipe(), "--limit", "2", "--set", "model.id=builtin:tiny-unclip-glyphs"),
        *("--set", "sampler.steps=1", "--set", "sampler.batch_size=2"),
    )
    assert done.exit_code == 0, done.output
    (folder,) = (path.parent for path in cli.folder.rglob("manifest.json"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["generator"]["name"] == "builtin:tiny-unclip-glyphs"
    assert manifest["generator"]["license"] == "apache-2.0"
    card = (folder / "README.md").read_text()
    assert "tiny-unclip-glyphs" in card
    assert "Apache-2.0" in card


@pytest.fixture(scope="module")
def judge() -> Any:
    """Knows the digits of matplotlib's fonts in all colours, and real digits."""
    names = ("DejaVuSans", "DejaVuSerif-Bold", "DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic")
    return train_judge(render({name: [FONTS / f"{name}.ttf"] for name in names}), steps=400)


@pytest.fixture(scope="module")
def real() -> tuple[np.ndarray, np.ndarray]:
    source = DigitsSource("test")
    images = np.stack([np.asarray(load_image(source, i)) for i in range(len(source.listing))])
    return images, np.asarray(source.listing.labels)


@pytest.fixture(scope="module")
def generated() -> dict[str, np.ndarray]:
    """12 images of each class from the class name alone, and conditioned on real digits."""
    generator = load_on_cpu(locate(GLYPHS), SAMPLER)
    source = DigitsSource("train", max_per_class=60, imbalance_factor=1.0)
    of_class = [np.flatnonzero(source.listing.labels == label) for label in range(10)]
    rows = np.concatenate([members[:PER_CLASS] for members in of_class])
    embeddings = generator.embed_images([load_image(source, int(row)) for row in rows])
    return {
        "text-only": sample(generator, np.zeros_like(embeddings)),
        "random-image": sample(generator, embeddings),
    }


def sample(generator: Any, embeddings: np.ndarray) -> np.ndarray:
    prompts = [CLASSES[label] for label in LABELS]
    spans = [slice(at, at + 32) for at in range(0, len(LABELS), 32)]
    return np.concatenate([generator.generate(embeddings[s], prompts[s], range(120)[s]) for s in spans])


LABELS = np.repeat(np.arange(10), PER_CLASS)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("text-only", 0.6), ("random-image", 0.75)])
def test_images_show_the_prompted_class(
    judge: Any, generated: dict[str, np.ndarray], method: str, least: float
) -> None:
    assert (predict(judge, generated[method]).numpy() == LABELS).mean() >= least


@pytest.mark.slow
def test_the_class_name_alone_misses_handwriting(
    generated: dict[str, np.ndarray], real: tuple[np.ndarray, np.ndarray]
) -> None:
    """Handwritten digits are white on black, and images that are conditioned on them are nearer to them."""
    colour = {name: np.ptp(images.astype(int), axis=3).mean() for name, images in generated.items()}
    assert colour["text-only"] > 3 * colour["random-image"]
    images, labels = real
    distance = {}
    for name, made in generated.items():
        pairs = made.reshape(120, 1, -1) / 255.0 - images.reshape(1, 300, -1) / 255.0
        apart = np.where(labels == LABELS[:, None], np.linalg.norm(pairs, axis=2), np.inf)
        distance[name] = apart.min(axis=1).mean()
    assert distance["random-image"] < 0.7 * distance["text-only"]
