"""The eleven methods: their properties, and golden values that a refactoring must keep."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthkit.conditioning import (
    CROP,
    CUTMIX,
    METHODS,
    MIXUP,
    Mix,
    Mixing,
    crop_to_square,
    cutmix_box,
    cutmix_span,
    draw_kept,
    drop,
    mix_pixels,
    random_resized_crop,
)
from synthkit.release.seeds import Stream, stream

seeds = st.integers(0, 2**63 - 1)
lambdas = st.floats(0, 1)
sizes = st.integers(1, 4096)


def rng(seed: int) -> np.random.Generator:
    return stream(seed, Stream.MIX)


def picture(value: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, (value, value, value))


def noise(seed: int, size: tuple[int, int] = (50, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def embedding(seed: int, size: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def mixup_pixels(*pair: Image.Image, **drawing: Any) -> tuple[np.ndarray, Mixing]:
    return mix_pixels(MIXUP, *pair, **drawing)


def cutmix_pixels(*pair: Image.Image, **drawing: Any) -> tuple[np.ndarray, Mixing]:
    return mix_pixels(CUTMIX, *pair, **drawing)


def mixup_embeddings(*pair: np.ndarray, **drawing: Any) -> tuple[np.ndarray, Mixing]:
    return mixed_embeddings(MIXUP, *pair, **drawing)


def cutmix_embeddings(*pair: np.ndarray, **drawing: Any) -> tuple[np.ndarray, Mixing]:
    return mixed_embeddings(CUTMIX, *pair, **drawing)


def mixed_embeddings(
    mix: Mix, first: np.ndarray, second: np.ndarray, **drawing: Any
) -> tuple[np.ndarray, Mixing]:
    mixing = mix.draw(first.shape, **drawing)
    return mix.apply(first, second, mixing), mixing


def dropped(
    e: np.ndarray,
    null: np.ndarray | None = None,
    *,
    probability: float,
    rescale: bool,
    rng: np.random.Generator,
    drops: str = "coordinates",
) -> np.ndarray:
    """An embedding after dropout, to a null of zeros if no other is given."""
    kept = draw_kept(e.shape, probability=probability, drops=drops, rng=rng)
    null = np.zeros_like(e) if null is None else null
    return drop(e, kept, null=null, probability=probability, rescale=rescale)


def test_there_are_the_papers_eleven_methods_and_others() -> None:
    assert list(METHODS) == [
        "random-image",
        "dropout",
        "mixup",
        "cutmix",
        "embed-mixup",
        "embed-cutmix",
        "mixup-dropout",
        "cutmix-dropout",
        "embed-mixup-dropout",
        "embed-cutmix-dropout",
        "text-only",
        "real-guidance",
        "retrieval",
        "da-fusion",
        "fill-up",
    ]
    for method in METHODS.values():
        assert method.drops is method.name.endswith("dropout")
        mixes = bool(method.pixels) + bool(method.embeddings)
        assert mixes == (1 if method.sources == 2 else 0)
        assert (method.pixels is None) or "embed" not in method.name


@given(seeds, sizes, sizes)
def test_a_crop_lies_inside_and_keeps_to_the_ratios(seed: int, width: int, height: int) -> None:
    x, y, w, h = random_resized_crop(width, height, rng(seed))
    assert 0 <= x <= x + w <= width
    assert 0 <= y <= y + h <= height
    assert w >= 1
    assert h >= 1


@given(seeds)
def test_a_crop_of_a_photograph_keeps_area_and_ratio(seed: int) -> None:
    _, _, w, h = random_resized_crop(500, 400, rng(seed))
    assert 0.079 <= w * h / 200_000 <= 1.0
    assert 0.74 <= w / h <= 1.35


@given(seeds, lambdas, sizes, sizes)
def test_the_box_of_cutmix_has_at_most_the_area_and_lambda_is_what_is_left(
    seed: int, lam: float, width: int, height: int
) -> None:
    (x0, y0, x1, y1), clipped = cutmix_box(lam, width, height, rng(seed))
    assert 0 <= x0 <= x1 <= width
    assert 0 <= y0 <= y1 <= height
    area = (x1 - x0) * (y1 - y0)
    assert area <= (1 - lam) * width * height + 1e-6
    assert clipped == pytest.approx(1 - area / (width * height))


def test_boxes_that_are_not_clipped_have_the_area_of_the_paper() -> None:
    boxes = [cutmix_box(0.9, CROP, CROP, rng(seed))[0] for seed in range(200)]
    inner = [b for b in boxes if b[0] > 0 and b[1] > 0 and b[2] < CROP and b[3] < CROP]
    assert len(inner) > 80
    for x0, y0, x1, y1 in inner:
        assert (x1 - x0) * (y1 - y0) / CROP**2 == pytest.approx(0.1, abs=0.01)


@given(seeds, lambdas, sizes)
def test_the_span_of_embed_cutmix(seed: int, lam: float, size: int) -> None:
    (start, stop), clipped = cutmix_span(lam, size, rng(seed))
    assert 0 <= start <= stop <= size
    assert stop - start <= round((1 - lam) * size)
    assert clipped == pytest.approx(1 - (stop - start) / size)
    if start > 0 and stop < size:
        assert stop - start == round((1 - lam) * size)


def test_the_spans_centre_is_uniform() -> None:
    middles = [sum(cutmix_span(0.99, 1000, rng(seed))[0]) / 2 for seed in range(4000)]
    counts, _ = np.histogram(middles, bins=10, range=(0, 1000))
    assert counts.min() > 320
    assert counts.max() < 480


@given(seeds)
def test_mixup_of_embeddings_is_the_weighted_sum(seed: int) -> None:
    a, b = embedding(1), embedding(2)
    mixed, mixing = mixup_embeddings(a, b, alpha=1.0, rng=rng(seed))
    assert 0 <= mixing.lam <= 1
    np.testing.assert_allclose(mixed, mixing.lam * a + (1 - mixing.lam) * b, atol=1e-5)
    assert (mixed.dtype, mixing.region, mixing.crops) == (np.float32, (), ())


@given(seeds)
def test_cutmix_of_embeddings_takes_exactly_the_span(seed: int) -> None:
    a, b = embedding(1), embedding(2)
    mixed, mixing = cutmix_embeddings(a, b, alpha=1.0, rng=rng(seed))
    start, stop = mixing.region
    taken = mixed == b
    assert taken[start:stop].all()
    assert not taken[:start].any()
    assert not taken[stop:].any()
    np.testing.assert_array_equal(mixed[~taken], a[~taken])


@given(seeds)
def test_mixup_of_pixels_is_the_weighted_grey(seed: int) -> None:
    mixed, mixing = mixup_pixels(picture(200), picture(40), alpha=1.0, rng=rng(seed))
    assert mixed.shape == (CROP, CROP, 3)
    assert mixed.dtype == np.uint8
    assert abs(int(mixed[0, 0, 0]) - (mixing.lam * 200 + (1 - mixing.lam) * 40)) <= 0.51
    assert len(mixing.crops) == 2


@given(seeds)
def test_cutmix_of_pixels_takes_exactly_the_box(seed: int) -> None:
    mixed, mixing = cutmix_pixels(picture(10), picture(250), alpha=1.0, rng=rng(seed))
    x0, y0, x1, y1 = mixing.region
    pasted = np.zeros((CROP, CROP), bool)
    pasted[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(mixed[..., 0] == 250, pasted)
    assert mixing.lam == pytest.approx(1 - pasted.mean())


def test_the_record_is_enough_to_make_a_pixel_mix_again() -> None:
    a, b = noise(1), noise(2)
    mixed, mixing = mixup_pixels(a, b, alpha=1.0, rng=rng(5))
    first, second = (
        crop_to_square(image, crop).astype(np.float64)
        for image, crop in zip((a, b), mixing.crops, strict=True)
    )
    again = mixing.lam * first + (1 - mixing.lam) * second
    assert np.abs(mixed - again).max() <= 0.51


def test_a_pixel_mix_is_rounded_in_float32() -> None:
    """In another precision one level in some millions is another one, and with it all bytes of an image."""
    digest = hashlib.sha256()
    for seed in range(80):
        digest.update(mixup_pixels(noise(1), noise(2), alpha=1.0, rng=rng(seed))[0].tobytes())
    assert digest.hexdigest()[:16] == "23a43dc7a2a26cdc"


@given(seeds, st.floats(0, 0.95))
def test_dropout_zeroes_and_leaves_the_rest_alone(seed: int, probability: float) -> None:
    e = embedding(3, 512)
    result = dropped(e, probability=probability, rescale=False, rng=rng(seed))
    kept = result != 0
    np.testing.assert_array_equal(result[kept], e[kept])
    share = 1 - kept.mean()
    assert abs(share - probability) < 6 * np.sqrt(probability * (1 - probability) / 512) + 1e-9


@pytest.mark.parametrize("value", [0.0, 0.25])
@pytest.mark.parametrize(
    ("shape", "drops"), [((64,), "coordinates"), ((5, 8), "coordinates"), ((5, 8), "tokens")]
)
def test_a_dropout_of_one_leaves_the_null_to_the_last_byte(
    shape: tuple[int, ...], drops: str, value: float
) -> None:
    """A product with zero would leave the signs of the coordinates."""
    e, null = embedding(3, 64)[: np.prod(shape)].reshape(shape), np.full(shape, value, np.float32)
    result = dropped(e, null, probability=1, rescale=False, rng=rng(1), drops=drops)
    assert result.tobytes() == null.tobytes()
    assert result is not null


def test_rescaling_divides_the_survivors() -> None:
    e = embedding(3, 512)
    plain = dropped(e, probability=0.4, rescale=False, rng=rng(1))
    scaled = dropped(e, probability=0.4, rescale=True, rng=rng(1))
    np.testing.assert_allclose(scaled, plain / 0.6, rtol=1e-6)


def test_lambda_is_uniform_at_alpha_one_and_central_at_a_large_alpha() -> None:
    def draws(alpha: float) -> np.ndarray:
        a, b = embedding(1, 4), embedding(2, 4)
        return np.array([mixup_embeddings(a, b, alpha=alpha, rng=rng(s))[1].lam for s in range(3000)])

    counts, _ = np.histogram(draws(1.0), bins=5, range=(0, 1))
    assert counts.min() > 520
    assert draws(100.0).std() < 0.05


MIXES = [mixup_pixels, cutmix_pixels, mixup_embeddings, cutmix_embeddings]


@pytest.mark.parametrize("mix", MIXES)
@given(seed=seeds)
def test_the_same_seed_does_the_same_and_another_does_not(mix: Any, seed: int) -> None:
    sources = (noise(1), noise(2)) if "pixels" in mix.__name__ else (embedding(1), embedding(2))
    first, second = (mix(*sources, alpha=1.0, rng=rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    others = [mix(*sources, alpha=1.0, rng=rng(seed ^ other))[1] for other in (1, 2, 4)]
    assert any(mixing != first[1] for mixing in others)


@given(seeds)
def test_sources_are_not_changed(seed: int) -> None:
    a, b, image = embedding(1), embedding(2), noise(1)
    for mix in MIXES:
        mix(*((image, noise(2)) if "pixels" in mix.__name__ else (a, b)), alpha=1.0, rng=rng(seed))
    dropped(a, probability=0.5, rescale=True, rng=rng(seed))
    np.testing.assert_array_equal(a, embedding(1))
    np.testing.assert_array_equal(b, embedding(2))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(noise(1)))


def test_the_streams_of_an_image_are_independent() -> None:
    mix, dropped = (stream(1, which).random(1000) for which in (Stream.MIX, Stream.DROP))
    assert abs(np.corrcoef(mix, dropped)[0, 1]) < 0.1


# Golden values: any change to them changes every image that anyone has made.
@pytest.mark.parametrize(
    ("mix", "lam", "region", "crops"),
    [
        (mixup_pixels, 0.3316313562903166, (), ((9, 6, 34, 29), (16, 2, 26, 34))),
        (cutmix_pixels, 0.6859255420918368, (0, 0, 103, 153), ((9, 6, 34, 29), (16, 2, 26, 34))),
        (mixup_embeddings, 0.567701022316144, (), ()),
        (cutmix_embeddings, 0.5703125, (24, 79), ()),
    ],
)
def test_golden_mixes(
    mix: Any, lam: float, region: tuple[int, ...], crops: tuple[tuple[int, ...], ...]
) -> None:
    sources = (noise(1), noise(2)) if "pixels" in mix.__name__ else (embedding(1), embedding(2))
    _, mixing = mix(*sources, alpha=1.0, rng=rng(42))
    assert mixing.lam == pytest.approx(lam, abs=1e-12)
    assert (mixing.region, mixing.crops) == (region, crops)


def test_golden_dropout() -> None:
    kept = dropped(np.ones(24, np.float32), probability=0.4, rescale=False, rng=stream(42, Stream.DROP))
    assert "".join("1" if value else "0" for value in kept) == "111111011001110010010000"
