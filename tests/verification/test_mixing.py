"""What a record says about mixing can be drawn again, whatever the method."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.conditioning import METHODS, Method, Mix, Mixing, blend, mix_pixels
from synthkit.release.seeds import Stream, stream
from synthkit.verification.mixing import SeededDraws, mixing_faults

SIZE = 64
# Of vectors and of tokens: a class token with a grid of patches.
SHAPES = [(SIZE,), (1 + 6 * 6, SIZE)]
PICTURES = [Image.new("RGB", size) for size in ((40, 30), (32, 32))]


def mixed(method: str, seed: int, shape: tuple[int, ...]) -> Mixing:
    """What a build draws for an image with this seed."""
    rng, found = stream(seed, Stream.MIX), METHODS[method]
    if found.pixels is not None:
        return mix_pixels(found.pixels, *PICTURES, alpha=1.0, rng=rng)[1]
    return found.embeddings.draw(shape, alpha=1.0, rng=rng) if found.embeddings else Mixing()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_a_build_of_any_method_passes(method: str, shape: tuple[int, ...]) -> None:
    for seed in range(1, 9):
        said = record(method, mixed(method, seed, shape))
        assert list(mixing_faults(said, seed, 1.0, shape, SeededDraws())) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.sources == 2])
def test_what_another_seed_gives_is_a_fault(method: str, shape: tuple[int, ...]) -> None:
    said = record(method, mixed(method, 1, shape))
    assert list(mixing_faults(said, 2, 1.0, shape, SeededDraws()))


@pytest.mark.parametrize("field", ["pixels", "embeddings"])
def test_a_new_mix_is_known_by_what_it_draws(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mix that comes with a line of METHODS, and that nothing of verification knows by name."""

    def draw_fifth(shape: tuple[int, ...], *, alpha: float, rng: np.random.Generator) -> Mixing:
        return Mixing(0.8 + float(rng.beta(alpha, alpha)) / 5)

    mix = Mix(draw_fifth, blend)
    added = Method("fifth", "a fifth of another", sources=2, **{field: mix})
    monkeypatch.setitem(METHODS, "fifth", added)
    said = record("fifth", mixed("fifth", 1, (SIZE,)))
    assert list(mixing_faults(said, 1, 1.0, (SIZE,), SeededDraws())) == []
    assert list(mixing_faults(said, 2, 1.0, (SIZE,), SeededDraws()))


def record(method: str, mixing: Mixing) -> Any:
    return SimpleNamespace(
        method=method,
        attempt=0,
        lam=mixing.lam,
        region=mixing.region,
        crops=mixing.crops,
        sources=range(METHODS[method].sources),
    )
