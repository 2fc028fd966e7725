"""The eleven ways to augment what the generator is conditioned on; `METHODS` lists them.

Source: Jiahui Chen, Amy Zhang, Adriana Romero-Soriano, "Augmented Conditioning Is Enough For Effective
Training Image Generation", arXiv 2502.04475, section 3. Every function draws from the random generator that
it is given, has no other effect, and returns what it drew, so that an image's record can state it.
docs/method.md says where the paper's text and its authors' scripts differ, and which is done here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels of an edge: CLIP's image encoder takes 224x224.
CROP = 224
_CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10


@dataclass(frozen=True, slots=True)
class Mixing:
    """What a mix did: the share λ of the first source, the region taken from the second, the crops.

    λ is that after the region was clipped. `region` is [x0, y0, x1, y1] in the 224-pixel crop, or
    [start, stop] of an embedding's coordinates, or empty. `crops` has [x, y, width, height] in the pixels of
    each source, or is empty.
    """

    lam: float = 1.0
    region: tuple[int, ...] = ()
    crops: tuple[tuple[int, int, int, int], ...] = ()


class PixelMix(Protocol):
    """Mixes two RGB images into one (224, 224, 3) uint8 array."""

    def __call__(  # noqa: D102
        self, first: Image.Image, second: Image.Image, *, alpha: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Mixing]: ...


class EmbeddingMix(Protocol):
    """Mixes two (D,) float32 embeddings into one."""

    def __call__(  # noqa: D102
        self,
        first: NDArray[np.float32],
        second: NDArray[np.float32],
        *,
        alpha: float,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], Mixing]: ...


@dataclass(frozen=True, slots=True)
class Method:
    """A method: how many real images it takes, what mixes them, and whether coordinates are dropped.

    `formula` is the conditioning in the paper's notation and in words.
    """

    name: str
    formula: str
    sources: int
    pixels: PixelMix | None = None
    embeddings: EmbeddingMix | None = None
    drops: bool = False


def random_resized_crop(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return the box [x, y, w, h] of a random resized crop (Szegedy et al. 2015), as torchvision's default.

    The area is 8 % to 100 % of the image (uniform), the ratio 3/4 to 4/3 (log-uniform). After ten boxes that
    do not fit, it is the largest centred box within the ratios.
    """
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for _ in range(CROP_TRIES):
        area = width * height * rng.uniform(*_CROP_AREA)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
    narrow, wide = CROP_RATIO
    w = min(width, max(1, round(height * wide)))
    h = min(height, max(1, round(width / narrow)))
    return (width - w) // 2, (height - h) // 2, w, h


def mixup_pixels(
    first: Image.Image, second: Image.Image, *, alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Mixing]:
    """Return λ·c1 + (1-λ)·c2 of two random resized crops (Zhang et al. 2018), rounded to whole levels."""
    a, b, crops = _two_crops(first, second, rng)
    lam = float(rng.beta(alpha, alpha))
    mixed = lam * a.astype(np.float32) + (1 - lam) * b.astype(np.float32)
    return np.rint(mixed).astype(np.uint8), Mixing(lam, (), crops)


def cutmix_pixels(
    first: Image.Image, second: Image.Image, *, alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Mixing]:
    """Return crop c1 with a box pasted from c2, both random resized crops (Yun et al. 2019, equation 2)."""
    a, b, crops = _two_crops(first, second, rng)
    (x0, y0, x1, y1), lam = cutmix_box(float(rng.beta(alpha, alpha)), CROP, CROP, rng)
    mixed = a.copy()
    mixed[y0:y1, x0:x1] = b[y0:y1, x0:x1]
    return mixed, Mixing(lam, (x0, y0, x1, y1), crops)


def cutmix_box(
    lam: float, width: int, height: int, rng: np.random.Generator
) -> tuple[tuple[int, int, int, int], float]:
    """Return a box [x0, y0, x1, y1] of area 1-λ with a uniform centre, clipped, and λ after the clipping."""
    share = math.sqrt(1 - lam)
    half_w, half_h = int(width * share) // 2, int(height * share) // 2
    cx, cy = int(rng.integers(width)), int(rng.integers(height))
    x0, x1 = max(cx - half_w, 0), min(cx + half_w, width)
    y0, y1 = max(cy - half_h, 0), min(cy + half_h, height)
    return (x0, y0, x1, y1), 1 - (x1 - x0) * (y1 - y0) / (width * height)


def mixup_embeddings(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Mixing]:
    """Return λ·f(x1) + (1-λ)·f(x2)."""
    lam = float(rng.beta(alpha, alpha))
    return np.float32(lam) * first + np.float32(1 - lam) * second, Mixing(lam)


def cutmix_embeddings(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Mixing]:
    """Return f(x1) with one contiguous span of coordinates from f(x2): CutMix in one dimension."""
    (start, stop), lam = cutmix_span(float(rng.beta(alpha, alpha)), len(first), rng)
    mixed = first.copy()
    mixed[start:stop] = second[start:stop]
    return mixed, Mixing(lam, (start, stop))


def cutmix_span(lam: float, size: int, rng: np.random.Generator) -> tuple[tuple[int, int], float]:
    """Return a span [start, stop) of round((1-λ)·size) with a uniform centre, clipped, and λ after that."""
    length = round((1 - lam) * size)
    begin = int(rng.integers(size)) - length // 2
    start, stop = max(begin, 0), min(begin + length, size)
    return (start, stop), 1 - (stop - start) / size


def drop(
    embedding: NDArray[np.float32], *, probability: float, rescale: bool, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a (D,) embedding of which each coordinate is set to zero with a probability.

    `rescale` divides the other coordinates by 1 - probability, as a Dropout layer does (the paper's
    footnote 1); the paper's numbers were made without it.
    """
    kept = embedding * (rng.random(len(embedding)) >= probability).astype(np.float32)
    return kept / np.float32(1 - probability) if rescale else kept


def crop_to_square(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return the pixels of a box [x, y, w, h], resized to (224, 224, 3) uint8."""
    x, y, w, h = box
    crop = image.crop((x, y, x + w, y + h))
    return np.asarray(crop.resize((CROP, CROP), Image.Resampling.BILINEAR), dtype=np.uint8)


def _two_crops(
    first: Image.Image, second: Image.Image, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[tuple[int, int, int, int], ...]]:
    boxes = tuple(random_resized_crop(image.width, image.height, rng) for image in (first, second))
    return crop_to_square(first, boxes[0]), crop_to_square(second, boxes[1]), boxes


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random-image", "f(x1): the embedding of one real image", sources=1),
        Method("dropout", "drop(f(x1)): coordinates dropped", sources=1, drops=True),
        Method("mixup", "f(mixup(x1, x2)): two images blended", sources=2, pixels=mixup_pixels),
        Method("cutmix", "f(cutmix(x1, x2)): a box of one in the other", sources=2, pixels=cutmix_pixels),
        Method(
            "embed-mixup",
            "mixup(f(x1), f(x2)): two embeddings blended",
            sources=2,
            embeddings=mixup_embeddings,
        ),
        Method(
            "embed-cutmix",
            "cutmix(f(x1), f(x2)): a span of coordinates from the other",
            sources=2,
            embeddings=cutmix_embeddings,
        ),
        Method(
            "mixup-dropout",
            "drop(f(mixup(x1, x2))): two images blended, coordinates dropped",
            sources=2,
            pixels=mixup_pixels,
            drops=True,
        ),
        Method(
            "cutmix-dropout",
            "drop(f(cutmix(x1, x2))): a box of one in the other, coordinates dropped",
            sources=2,
            pixels=cutmix_pixels,
            drops=True,
        ),
        Method(
            "embed-mixup-dropout",
            "drop(mixup(f(x1), f(x2))): two embeddings blended, coordinates dropped",
            sources=2,
            embeddings=mixup_embeddings,
            drops=True,
        ),
        Method(
            "embed-cutmix-dropout",
            "drop(cutmix(f(x1), f(x2))): a span of coordinates from the other, coordinates dropped",
            sources=2,
            embeddings=cutmix_embeddings,
            drops=True,
        ),
        Method("text-only", "zeros: the class name alone", sources=0),
    )
}
