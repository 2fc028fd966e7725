"""The random streams of an image, all of them keyed by its own seed."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent random streams of one image, so that no draw depends on another's number of draws."""

    MIX = 1
    DROP = 2
    ATTEMPT = 3


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed of an image's n-th draw: its own for the first, others (63 bits) when one was rejected."""
    if attempt == 0:
        return seed
    raw = np.random.Philox(key=np.array([seed, Stream.ATTEMPT], dtype=np.uint64)).random_raw(attempt)
    return int(raw[-1] >> np.uint64(1))


def stream(seed: int, which: Stream) -> np.random.Generator:
    """A counter-based generator (Philox 4x64, Salmon et al. 2011) keyed by an image's seed."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, which], dtype=np.uint64)))
