"""Perceptual hashes are those of `imagehash`, bit for bit."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthkit.release.perceptual_hash import perceptual_hashes
from synthkit.sources.base import load_image
from synthkit.sources.digits import DigitsSource


def by_imagehash(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


@st.composite
def images(draw: st.DrawFn) -> Image.Image:
    """Images of any shape, noisy, smooth, or of few colours, in all modes that real images come in."""
    width, height, seed = draw(st.integers(1, 90)), draw(st.integers(1, 90)), draw(st.integers(0, 1 << 32))
    rng = np.random.default_rng(seed)
    match draw(st.sampled_from(["noise", "gradient", "few", "flat"])):
        case "noise":
            pixels = rng.integers(0, 256, (height, width, 3))
        case "gradient":
            x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
            pixels = np.stack([255 * x, 255 * y, 255 * x * y], axis=2)
        case "few":
            pixels = rng.choice([0, 80, 255], (height, width, 1)).repeat(3, axis=2)
        case _:
            pixels = np.full((height, width, 3), rng.integers(0, 256))
    return Image.fromarray(pixels.astype(np.uint8)).convert(draw(st.sampled_from(["RGB", "L", "RGBA", "P"])))


@given(st.lists(images(), min_size=1, max_size=4))
def test_every_bit_is_that_of_imagehash(some: list[Image.Image]) -> None:
    assert perceptual_hashes(some).tolist() == [by_imagehash(image) for image in some]


def test_the_digits_hash_as_by_imagehash() -> None:
    source = DigitsSource("test")
    digits = [load_image(source, place) for place in range(300)]
    assert perceptual_hashes(digits).tolist() == [by_imagehash(image) for image in digits]


def test_an_image_that_was_scaled_or_compressed_has_nearly_the_same_hash(tmp_path) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = small.resize((300, 300), Image.Resampling.BICUBIC)
    image.save(tmp_path / "again.jpg", quality=40)
    with Image.open(tmp_path / "again.jpg") as again:
        hashes = perceptual_hashes([image, image.resize((150, 150)), again, image.rotate(90)])
    distances = np.bitwise_count(hashes ^ hashes[0])
    assert max(distances[1:3]) <= 4
    assert distances[3] > 16


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_one_colour(value: int) -> None:
    flat = Image.new("RGB", (50, 40), (value, value, value))
    assert perceptual_hashes([flat]).tolist() == [by_imagehash(flat)]
