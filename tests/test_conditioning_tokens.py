"""Embeddings with tokens, (T, D), and a null that is not zeros: properties, and golden values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkit.conditioning import CUTMIX, METHODS, MIXUP, draw_kept, drop, token_grid, why_unfit
from synthkit.release.seeds import Stream, stream

seeds = st.integers(0, 2**63 - 1)
# What IP-Adapter plus and FLUX.1 Redux are conditioned on: 16x16 patches and a class token, 27x27 patches.
SHAPES = [(257, 20), (729, 20)]


def tokens(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("count", "grid"), [(257, (1, 16)), (729, (0, 27)), (5, (1, 2)), (4, (0, 2)), (1370, (1, 37))]
)
def test_patches_are_a_square_grid_after_at_most_one_class_token(count: int, grid: tuple[int, int]) -> None:
    assert token_grid(count) == grid


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 77, 258, 731])
def test_other_numbers_of_tokens_are_no_grid(count: int) -> None:
    with pytest.raises(ValueError, match=f"^{count} tokens are no square grid of patches"):
        token_grid(count)
    unfit = {name for name, method in METHODS.items() if why_unfit(method, (count, 3))}
    assert unfit == {"embed-cutmix", "embed-cutmix-dropout"}


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds)
def test_mixup_of_tokens_is_the_weighted_sum_of_all(shape: tuple[int, ...], seed: int) -> None:
    a, b = tokens(1, shape), tokens(2, shape)
    mixing = MIXUP.draw(shape, alpha=1.0, rng=stream(seed, Stream.MIX))
    mixed = MIXUP.apply(a, b, mixing)
    np.testing.assert_allclose(mixed, mixing.lam * a + (1 - mixing.lam) * b, atol=1e-5)
    assert (mixed.dtype, mixing.region) == (np.float32, ())


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=seeds)
def test_cutmix_of_tokens_pastes_a_box_of_patches(shape: tuple[int, ...], seed: int) -> None:
    a, b = tokens(1, shape), tokens(2, shape)
    before, edge = token_grid(shape[0])
    mixing = CUTMIX.draw(shape, alpha=1.0, rng=stream(seed, Stream.MIX))
    mixed = CUTMIX.apply(a, b, mixing)
    x0, y0, x1, y1 = mixing.region
    from_second = (mixed == b).all(axis=1)
    np.testing.assert_array_equal(mixed[~from_second], a[~from_second])
    patches = from_second[before:].reshape(edge, edge)
    assert patches[y0:y1, x0:x1].all()
    assert patches.sum() == (x1 - x0) * (y1 - y0)
    # λ is the share of patches that was not pasted; the class token comes from the larger part.
    assert mixing.lam == pytest.approx(1 - patches.mean())
    assert from_second[:before].tolist() == [mixing.lam < 0.5] * before
    np.testing.assert_array_equal(a, tokens(1, shape))


def test_the_class_token_comes_from_either_source() -> None:
    lams = [CUTMIX.draw((257, 1), alpha=1.0, rng=stream(seed, Stream.MIX)).lam for seed in range(99)]
    assert 5 < sum(lam < 0.5 for lam in lams) < 50


@given(seeds, st.floats(0, 0.95), st.booleans())
def test_coordinates_are_dropped_from_all_tokens_alike_to_those_of_the_null(
    seed: int, probability: float, rescale: bool
) -> None:
    e, null = tokens(1, (50, 64)), tokens(2, (50, 64))
    kept = drawn(e, seed, probability, "coordinates")
    assert kept.shape == (64,)
    result = drop(e, kept, null=null, probability=probability, rescale=rescale)
    np.testing.assert_array_equal(result[:, ~kept], null[:, ~kept])
    wanted = null + (e - null) / (1 - probability) if rescale else e
    np.testing.assert_allclose(result[:, kept], wanted[:, kept], rtol=1e-4, atol=1e-4)
    assert result.dtype == np.float32


@given(seeds, st.floats(0, 0.95))
def test_whole_tokens_are_dropped(seed: int, probability: float) -> None:
    e, null = tokens(1, (257, 4)), tokens(2, (257, 4))
    kept = drawn(e, seed, probability, "tokens")
    assert kept.shape == (257, 1)
    rows = kept[:, 0]
    result = drop(e, kept, null=null, probability=probability, rescale=False)
    np.testing.assert_array_equal(result[rows], e[rows])
    np.testing.assert_array_equal(result[~rows], null[~rows])
    assert abs(1 - rows.mean() - probability) < 6 * np.sqrt(probability * (1 - probability) / 257) + 1e-9


def drawn(e: np.ndarray, seed: int, probability: float, drops: str) -> np.ndarray:
    return draw_kept(e.shape, probability=probability, drops=drops, rng=stream(seed, Stream.DROP))


def test_a_vector_loses_its_coordinates_to_those_of_the_null() -> None:
    e, null = tokens(1, (512,)), np.full(512, 0.25, np.float32)
    kept = drawn(e, 3, 0.4, "coordinates")
    result = drop(e, kept, null=null, probability=0.4, rescale=False)
    np.testing.assert_array_equal(result, np.where(kept, e, null))
    # The same ones as with a null of zeros.
    zeroed = drop(e, kept, null=np.zeros_like(e), probability=0.4, rescale=False)
    np.testing.assert_array_equal(zeroed != 0, kept)


def test_with_a_null_of_zeros_every_byte_is_as_it_was() -> None:
    """What dropout was before there was any other null: a product, of which zeros keep their sign."""
    e = tokens(1, (512,))
    for probability, rescale in ((0.4, False), (0.4, True), (0.0, True)):
        kept = drawn(e, 5, probability, "coordinates")
        result = drop(e, kept, null=np.zeros_like(e), probability=probability, rescale=rescale)
        wanted = e * kept.astype(np.float32)
        if rescale:
            wanted = wanted / np.float32(1 - probability)
        assert result.tobytes() == wanted.tobytes()


# Golden values: any change to them changes images that somebody has made.
@pytest.mark.parametrize(
    ("shape", "lam", "region"),
    [((257, 8), 0.8046875, (1, 0, 11, 5)), ((729, 8), 1 - 16 * 8 / 729, (2, 0, 18, 8))],
)
def test_golden_boxes(shape: tuple[int, ...], lam: float, region: tuple[int, ...]) -> None:
    mixing = CUTMIX.draw(shape, alpha=1.0, rng=stream(42, Stream.MIX))
    assert (mixing.lam, mixing.region) == (pytest.approx(lam, abs=1e-12), region)


@pytest.mark.parametrize(
    ("drops", "wanted"), [("coordinates", "111111011001110010010000"), ("tokens", "11111101100111001")]
)
def test_golden_dropout_of_tokens(drops: str, wanted: str) -> None:
    kept: Any = draw_kept((17, 24), probability=0.4, drops=drops, rng=stream(42, Stream.DROP))
    assert "".join("1" if value else "0" for value in kept.ravel()) == wanted
