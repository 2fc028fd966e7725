"""The predictions of a run as text, to stand among its measurements in JSON."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def packed(predictions: NDArray[np.uint16]) -> str:
    """Return predicted classes (N,) as base64 of their compressed little-endian bytes."""
    return base64.b64encode(zlib.compress(predictions.astype("<u2").tobytes())).decode()


def unpacked(text: str) -> NDArray[np.uint16]:
    """Return the predicted classes (N,) of a packed text."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<u2").astype(np.uint16)
