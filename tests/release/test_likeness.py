"""What is compared of images: their pixels, their perceptual hashes, and their embeddings of length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthkit.release.likeness import joined, look_at, unit


def mean_colours(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])


def noise(seed: int, edge: int = 48) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BICUBIC)


def test_what_a_scaled_and_a_darker_image_share_with_the_first() -> None:
    image = noise(0)
    others = [image, image.resize((96, 96)), image.point(lambda value: value // 2), noise(1)]
    views = joined([look_at(others[:3], mean_colours), look_at(others[3:], mean_colours)])
    assert (views.pixels == views.pixels[0]).all(axis=1).tolist() == [True, False, False, False]
    assert np.bitwise_count(views.hashes ^ views.hashes[0])[:3].max() <= 2
    assert np.bitwise_count(views.hashes[3] ^ views.hashes[0]) > 8
    similarities = views.embeddings @ views.embeddings[0]
    assert (similarities[:3] > 0.999).all()
    assert similarities[3] < 0.999


def test_images_of_other_sizes_have_other_pixels() -> None:
    wide, high = Image.new("RGB", (8, 2), "red"), Image.new("RGB", (2, 8), "red")
    views = look_at([wide, high, wide], mean_colours)
    assert (views.pixels[0] == views.pixels[2]).all()
    assert not (views.pixels[0] == views.pixels[1]).all()
    assert len(views) == 3


def test_rows_of_zeros_have_no_direction() -> None:
    assert unit(np.array([[3, 4], [0, 0]], dtype=np.float32)).tolist() == [
        [0.6000000238418579, 0.800000011920929],
        [0, 0],
    ]
