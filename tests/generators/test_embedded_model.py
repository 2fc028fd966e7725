"""The embedded model, judged by a classifier that learned real digits only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pretraining.tiny_unclip_digits.judge import predict, train_judge
from synthkit.generators.checkpoint import locate
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource
from tests.helpers.generating import load_on_cpu

# Half a minute, and another outcome only with another model: the bytes it makes are tested elsewhere.
pytestmark = pytest.mark.slow
SAMPLER = Sampler(steps=25, guidance_scale=2.0, batch_size=32)


@pytest.fixture(scope="module")
def judge() -> Any:
    return train_judge(steps=150)


@pytest.fixture(scope="module")
def generator() -> Any:
    return load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER)


@pytest.fixture(scope="module")
def random_image(generator: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """120 generations: 12 per class, of 4 sources with 3 seeds each; labels, sources, images."""
    source = DigitsSource("train")
    labels, positions = [], []
    for label in range(10):
        members = np.flatnonzero(source.listing.labels == label)[:4]
        labels += [label] * 12
        positions += [int(p) for p in np.repeat(members, 3)]
    embeddings = generator.embed_images([load_image(source, p) for p in positions])
    return np.array(labels), np.array(positions), sample(generator, embeddings, labels)


def sample(generator: Any, embeddings: np.ndarray, labels: list[int]) -> np.ndarray:
    seeds, prompts = list(range(len(labels))), [CLASSES[label] for label in labels]
    spans = [slice(at, at + 32) for at in range(0, len(labels), 32)]
    return np.concatenate([generator.generate(embeddings[s], prompts[s], seeds[s]) for s in spans])


def test_the_judge_knows_real_digits(judge: Any) -> None:
    source = DigitsSource("test")
    images = np.stack([np.asarray(load_image(source, i)) for i in range(len(source.listing))])
    assert (predict(judge, images) == source.listing.labels).mean() >= 0.97


def test_random_image_gives_the_prompted_class(judge: Any, random_image: Any) -> None:
    labels, _, images = random_image
    assert (predict(judge, images) == labels).mean() >= 0.95


def test_text_only_gives_the_prompted_class(judge: Any, generator: Any) -> None:
    labels = [label for label in range(10) for _ in range(6)]
    nothing = np.zeros((60, generator.embedding_shape[-1]), np.float32)
    assert (predict(judge, sample(generator, nothing, labels)) == labels).mean() >= 0.90


def test_images_vary_with_the_seed_and_with_the_source(random_image: Any) -> None:
    """Mean pixel distance: of one source's seeds, of different sources, and to the source itself.

    A model that copies its conditioning image would have no distance between seeds.
    """
    labels, positions, images = random_image
    flat = images.reshape(120, -1) / 255.0
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    same_class = labels[:, None] == labels[None]
    same_source = positions[:, None] == positions[None]
    others = ~np.eye(120, dtype=bool)
    seeds = distance[same_source & others].mean()
    sources = distance[same_class & ~same_source].mean()
    source = DigitsSource("train")
    real = np.stack([np.asarray(load_image(source, int(p))).reshape(-1) / 255.0 for p in positions])
    to_source = np.linalg.norm(flat - real, axis=1).mean()
    assert seeds > 0.5 * sources
    assert sources > 1.02 * seeds
    assert to_source > 0.5 * sources
