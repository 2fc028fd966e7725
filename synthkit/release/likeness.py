"""How alike two images are: by their pixels, by perceptual hashes, and by a model's embeddings.

The audit compares synthetic images with real ones and with each other by this one measure, and so does every
quality gate that looks for near duplicates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.release.perceptual_hash import perceptual_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits from which on two images are near: copies, or near duplicates.

    They are near if their embeddings f(x) have a cosine similarity of at least `similarity`, or if their
    perceptual hashes differ in `distance` bits or fewer, or if they have the same pixels.
    """

    similarity: float = 0.98
    distance: int = 2


@dataclass(frozen=True, slots=True)
class Views:
    """What is compared of N images.

    `embeddings` (N, D) float32 of length 1; `hashes` (N,) uint64; `pixels` (N, 32) uint8, the SHA-256 of the
    size and the RGB values. A file's own SHA-256 would not do: every file of a release differs in its mark.
    """

    embeddings: NDArray[np.float32]
    hashes: NDArray[np.uint64]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.hashes)


def look_at(
    images: Sequence[Image.Image], embed: Callable[[Sequence[Image.Image]], NDArray[np.float32]]
) -> Views:
    """Return what is compared of RGB images; `embed` is a generator's `embed_images`."""
    pixels = np.stack([pixel_digest(image) for image in images])
    return Views(unit(embed(images)), perceptual_hashes(images), pixels)


def joined(views: Sequence[Views]) -> Views:
    """Return the views of several lots of images as one."""
    return Views(
        np.concatenate([some.embeddings for some in views]),
        np.concatenate([some.hashes for some in views]),
        np.concatenate([some.pixels for some in views]),
    )


def unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1; rows of zeros stay zeros."""
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), dtype=np.float32)


def pixel_digest(image: Image.Image) -> NDArray[np.uint8]:
    """Return the (32,) SHA-256 of the size and the values of an RGB image."""
    digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
    return np.frombuffer(digest, dtype=np.uint8)
