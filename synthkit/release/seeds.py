"""The random streams of an image, each keyed by the image's own seed."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The independent random streams of one image.

    λ, boxes and crops come from MIX, dropout from DROP, the seeds of redrawn images from ATTEMPT and the
    weight of the image against the text from SCALE. No stream depends on how much is drawn from another.
    """

    MIX = 1
    DROP = 2
    ATTEMPT = 3
    SCALE = 4


def attempt_seed(seed: int, attempt: int) -> int:
    """Return the seed (63 bits) of an image's draw number `attempt`, counted from 0.

    The first draw uses the image's own seed; each draw after a rejected one has a seed of its own.
    """
    if attempt == 0:
        return seed
    raw = np.random.Philox(key=np.array([seed, Stream.ATTEMPT], dtype=np.uint64)).random_raw(attempt)
    return int(raw[-1] >> np.uint64(1))


def stream(seed: int, which: Stream) -> np.random.Generator:
    """Return a stream of an image: the counter-based Philox 4x64 (Salmon et al. 2011), keyed by its seed."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, which], dtype=np.uint64)))
