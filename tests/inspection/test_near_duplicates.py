"""Near duplicates among synthetic images: found by blocks, the same as by comparing every pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from synthkit.inspection import near_duplicates
from synthkit.inspection.near_duplicates import Groups, SyntheticViews, find_groups
from synthkit.release.likeness import Limits, Views, unit

LIMITS = Limits(similarity=0.98, distance=2)


def images(seed: int, count: int, classes: int, repeated: float) -> tuple[list[int], Views]:
    """Views of images, a share of which repeat an earlier image's pixels, hash or embedding, or nearly so."""
    rng = np.random.default_rng(seed)
    embeddings = unit(rng.normal(size=(count, 6)).astype(np.float32))
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    pixels = rng.integers(0, 256, (count, 32), dtype=np.uint8)
    for image in range(1, count):
        if rng.random() < repeated:
            earlier = rng.integers(image)
            match rng.integers(3):
                case 0:
                    pixels[image], hashes[image] = pixels[earlier], hashes[earlier]
                case 1:
                    bits = rng.integers(0, 64, 3).astype(np.uint64)
                    hashes[image] = hashes[earlier] ^ np.bitwise_xor.reduce(np.uint64(1) << bits)
                case _:
                    embeddings[image] = unit(embeddings[earlier] + rng.normal(size=6) * 0.07)
    return rng.integers(0, classes, count).tolist(), Views(embeddings, hashes, pixels)


def searched(folder: Path, labels: list[int], views: Views, classes: int, lot: int = 7) -> Groups:
    counts = np.bincount(labels, minlength=classes).tolist()
    with SyntheticViews(folder, counts, views.embeddings.shape[1]) as seen:
        for start in range(0, len(labels), lot):
            some = slice(start, start + lot)
            seen.add(labels[some], Views(views.embeddings[some], views.hashes[some], views.pixels[some]))
        told: list[int] = []
        groups = find_groups(seen, LIMITS, told.append)
    assert sum(told) == len(labels)
    assert list(folder.iterdir()) == []
    return groups


def of_every_pair(labels: list[int], views: Views) -> Groups:
    alone = ~np.eye(len(labels), dtype=bool)
    exact = (views.pixels[:, None] == views.pixels[None]).all(axis=2) & alone
    perceptual = (np.bitwise_count(views.hashes[:, None] ^ views.hashes[None]) <= LIMITS.distance) & alone
    of_class = np.equal.outer(labels, labels)
    embedding = (views.embeddings @ views.embeddings.T >= LIMITS.similarity) & of_class & alone
    _, group = connected_components(exact | perceptual | embedding, directed=False)
    return Groups(group, exact.any(axis=1), perceptual.any(axis=1), embedding.any(axis=1))


def same_groups(one: Groups, other: Groups) -> bool:
    return np.array_equal(np.equal.outer(one.group, one.group), np.equal.outer(other.group, other.group))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(1, 120),
    classes=st.integers(1, 4),
    repeated=st.sampled_from([0, 0.1, 0.6]),
    block=st.sampled_from([1, 5, 64, 2048]),
    waiting=st.sampled_from([1, 10, 1 << 20]),
)
def test_the_groups_are_those_of_every_pair(
    tmp_path: Path, seed: int, count: int, classes: int, repeated: float, block: int, waiting: int
) -> None:
    labels, views = images(seed, count, classes, repeated)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_BLOCK", block)
        patch.setattr(near_duplicates, "_WAITING", waiting)
        groups = searched(tmp_path, labels, views, classes)
    expected = of_every_pair(labels, views)
    assert same_groups(groups, expected)
    for name in ("exact", "perceptual", "embedding"):
        assert getattr(groups, name).tolist() == getattr(expected, name).tolist(), name


def test_embeddings_are_compared_within_a_class_and_pixels_everywhere(tmp_path: Path) -> None:
    embeddings = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    hashes = np.array([0, 2**8 - 1, 2**16 - 1, 2**24 - 1], dtype=np.uint64)
    pixels = np.arange(4, dtype=np.uint8)[:, None].repeat(32, axis=1)
    pixels[3] = pixels[2]
    groups = searched(tmp_path, [0, 0, 1, 0], Views(embeddings, hashes, pixels), 2)
    assert groups.group[0] == groups.group[1] != groups.group[2] == groups.group[3]
    assert groups.embedding.tolist() == [True, True, False, False]
    assert groups.exact.tolist() == [False, False, True, True]
    assert not groups.perceptual.any()
