"""What makes two images near: the same pixels, or hashes or embeddings within the limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthkit.release.likeness import Limits, joined, look_at, near, unit


def mean_colours(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])


def noise(seed: int, edge: int = 48) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((edge, edge), Image.Resampling.BICUBIC)


def test_each_measure_alone_makes_two_images_near() -> None:
    image = noise(0)
    scaled, darker, other = image.resize((96, 96)), image.point(lambda value: value // 2), noise(1)
    one, rest = look_at([image], mean_colours), look_at([image, scaled, darker, other], mean_colours)
    exact = Limits(similarity=1.1, distance=-1)
    assert near(one, rest, exact).tolist() == [[True, False, False, False]]
    assert near(one, rest, Limits(1.1, 2)).tolist() == [[True, True, True, False]]
    assert near(one, rest, Limits(0.9999, -1)).tolist() == [[True, True, True, False]]
    assert near(one, joined([rest, one]), Limits(-1, 0)).shape == (1, 5)
    assert near(one, rest, Limits(-1, 0)).all()


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
