"""The random streams of an image, each keyed by the image's own seed."""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import Any

import numpy as np


class Stream(IntEnum):
    """The independent random streams of one image.

    λ, boxes and crops come from MIX, dropout from DROP, the seeds of redrawn images from ATTEMPT, the weight
    of the image against the text from SCALE, which prompt is taken from PROMPT, and how much a start is
    noised from STRENGTH. No stream depends on how much is drawn from another.
    """

    MIX = 1
    DROP = 2
    ATTEMPT = 3
    SCALE = 4
    PROMPT = 5
    STRENGTH = 6


class _Philox(threading.local):
    """A generator for each thread, which is set anew for each seed."""

    def __init__(self) -> None:
        self.generator = np.random.Philox(key=0)
        self.start: Any = self.generator.state


_philox = _Philox()


def attempt_seed(seed: int, attempt: int) -> int:
    """Return the seed (63 bits) of an image's draw number `attempt`, counted from 0.

    The first draw uses the image's own seed; each draw after a rejected one has a seed of its own.
    """
    if attempt == 0:
        return seed
    return raw_number(seed, Stream.ATTEMPT, attempt) >> 1


def raw_number(seed: int, which: Stream, number: int = 1) -> int:
    """Return a number (64 bits) of a stream of an image, counted from 1.

    It is that of `stream(seed, which).bit_generator`, in a tenth of the time: none has to be made.
    """
    start = _philox.start
    start["state"]["key"][:] = seed, which
    _philox.generator.state = start
    return int(_philox.generator.random_raw(number)[-1])


def stream(seed: int, which: Stream) -> np.random.Generator:
    """Return a stream of an image: the counter-based Philox 4x64 (Salmon et al. 2011), keyed by its seed."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, which], dtype=np.uint64)))
