"""What a record says about mixing can be drawn again, whatever the method."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.conditioning import METHODS, Mixing
from synthkit.release.seeds import Stream, stream
from synthkit.verification.mixing import SeededDraws, mixing_faults

SIZE = 64
EMBEDDINGS = [np.full(SIZE, value, np.float32) for value in (1, 2)]
PICTURES = [Image.new("RGB", size) for size in ((40, 30), (32, 32))]


def mixed(method: str, seed: int) -> Mixing:
    """What a build draws for an image with this seed."""
    rng, found = stream(seed, Stream.MIX), METHODS[method]
    if found.pixels is not None:
        return found.pixels(*PICTURES, alpha=1.0, rng=rng)[1]
    return found.embeddings(*EMBEDDINGS, alpha=1.0, rng=rng)[1] if found.embeddings else Mixing()


@pytest.mark.parametrize("method", METHODS)
def test_a_build_of_any_method_passes(method: str) -> None:
    """A new method that fails here draws in a way that verification/mixing.py does not know yet."""
    for seed in range(1, 9):
        found = list(mixing_faults(record(method, mixed(method, seed)), seed, 1.0, SIZE, SeededDraws()))
        assert found == []


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.sources == 2])
def test_what_another_seed_gives_is_a_fault(method: str) -> None:
    faults = list(mixing_faults(record(method, mixed(method, 1)), 2, 1.0, SIZE, SeededDraws()))
    assert faults


def record(method: str, mixing: Mixing) -> Any:
    return SimpleNamespace(
        method=method,
        attempt=0,
        lam=mixing.lam,
        region=mixing.region,
        crops=mixing.crops,
        sources=range(METHODS[method].sources),
    )
