"""A perceptual hash: 64 bits that hardly change when an image is scaled or compressed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Bits of a hash, as (rows, columns) of low frequencies, and the edge of the image that they are taken from.
_BITS, _EDGE = 8, 32


def perceptual_hashes(images: Sequence[Image.Image]) -> NDArray[np.uint64]:
    """Return the pHash of each image: (N,) uint64, the first bit highest.

    The distance of two images is the number of bits in which their hashes differ.

    An image is turned to grey and resized to 32x32 pixels; of the 8x8 lowest frequencies of its cosine
    transform (DCT-II), those above their median become 1. These are the bits of `imagehash.phash`, which
    follows N. Krawetz, *Looks Like It* (2011, hackerfactor.com).
    """
    from scipy.fft import dctn

    grey = [image.convert("L").resize((_EDGE, _EDGE), Image.Resampling.LANCZOS) for image in images]
    pixels = np.stack([np.asarray(image) for image in grey])
    low = dctn(pixels, axes=(1, 2))[:, :_BITS, :_BITS].reshape(len(images), -1)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()
