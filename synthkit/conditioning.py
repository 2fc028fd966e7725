"""The ways to augment what the generator is conditioned on, or to begin from a real image: `METHODS`.

Source of the first eleven: Jiahui Chen, Amy Zhang, Adriana Romero-Soriano, "Augmented Conditioning Is Enough
For Effective Training Image Generation", arXiv 2502.04475, section 3. Every function draws from the random
generator that it is given, has no other effect, and returns what it drew, so that an image's record can
state it.
An embedding is a vector (D,), as in the paper, or has tokens (T, D), which the paper does not know.
docs/method.md says where the paper's text and its authors' scripts differ, and which is done here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels of an edge: CLIP's image encoder takes 224x224.
CROP = 224
_CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_TRIES = 10


Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mixing:
    """What a mix did: the share λ of the first source, the region taken from the second, the crops.

    λ is that after the region was clipped. `region` is [x0, y0, x1, y1] in the 224-pixel crop or in the grid
    of an embedding's tokens, or [start, stop] of an embedding's coordinates, or empty. `crops` has
    [x, y, width, height] in the pixels of each source, or is empty.
    """

    lam: float = 1.0
    region: tuple[int, ...] = ()
    crops: tuple[tuple[int, int, int, int], ...] = ()


class DrawMixing(Protocol):
    """Draws how two arrays of a shape are mixed.

    Shapes are (H, W, 3) of pixels, (D,) of an embedding, (T, D) of an embedding of T tokens. What is drawn
    follows from the arguments alone, so that `verify` can draw it again. Raises ValueError for a shape that
    cannot be mixed so.
    """

    def __call__(self, shape: Shape, *, alpha: float, rng: np.random.Generator) -> Mixing: ...  # noqa: D102


class ApplyMixing(Protocol):
    """Mixes two arrays of one shape as it was drawn, and leaves them as they are."""

    def __call__(  # noqa: D102
        self, first: NDArray[Any], second: NDArray[Any], mixing: Mixing
    ) -> NDArray[Any]: ...


@dataclass(frozen=True, slots=True)
class Mix:
    """A way to mix two images or two embeddings: what is drawn for it, and what that does.

    `has_region` says whether a region of the second replaces that of the first.
    """

    draw: DrawMixing
    apply: ApplyMixing
    has_region: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """A method: how many real images it takes, how their pixels or embeddings are mixed, whether it drops.

    `formula` is the conditioning in the paper's notation and in words. `starts` says that an image begins
    from the first real image, noised at a strength, instead of from noise alone; the prompt then is all that
    it is conditioned on. `retrieves` says that nothing is generated: images are real ones of another source.
    `learns` says that in place of the class's name the prompt has a token that is learned from the class's
    real images (textual inversion).
    """

    name: str
    formula: str
    sources: int
    pixels: Mix | None = None
    embeddings: Mix | None = None
    drops: bool = False
    starts: bool = False
    retrieves: bool = False
    learns: bool = False

    @property
    def embeds(self) -> bool:
        """Whether images are conditioned on what the image encoder makes of real ones."""
        return self.sources > 0 and not self.starts

    def formula_for(self, embedding: Shape | None) -> str:
        """Return the formula in words that are true of embeddings of a shape; None stands for vectors."""
        if embedding is None or len(embedding) == 1:
            return self.formula
        boxes = self.formula.replace("a span of coordinates", "a box of patches")
        parts = boxes.replace("coordinates dropped", "coordinates or tokens dropped")
        return parts.replace("zeros:", "that of no image:")


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


def draw_mixup(shape: Shape, *, alpha: float, rng: np.random.Generator) -> Mixing:
    """Draw λ ~ Beta(alpha, alpha) (Zhang et al. 2018); the shape changes nothing."""
    return Mixing(float(rng.beta(alpha, alpha)))


def draw_cutmix(shape: Shape, *, alpha: float, rng: np.random.Generator) -> Mixing:
    """Draw λ ~ Beta(alpha, alpha) and a region of 1-λ (Yun et al. 2019, equation 2).

    Of pixels it is a box, of an embedding a span of coordinates, and of tokens a box of patches. Raises
    ValueError if tokens are no grid of patches.
    """
    if len(shape) == 1:
        span, lam = cutmix_span(float(rng.beta(alpha, alpha)), shape[0], rng)
        return Mixing(lam, span)
    height, width = shape[:2] if len(shape) == 3 else (token_grid(shape[0]).edge,) * 2
    box, lam = cutmix_box(float(rng.beta(alpha, alpha)), width, height, rng)
    return Mixing(lam, box)


def blend(first: NDArray[Any], second: NDArray[Any], mixing: Mixing) -> NDArray[Any]:
    """Return λ·first + (1-λ)·second."""
    mixed: NDArray[Any] = mixing.lam * first + (1 - mixing.lam) * second
    return mixed


def paste(first: NDArray[Any], second: NDArray[Any], mixing: Mixing) -> NDArray[Any]:
    """Return the first with the region of the second.

    Of tokens, a class token comes from the source with the larger part: from the first if λ >= 0.5.
    """
    mixed = first.copy()
    if len(mixing.region) == 2:
        start, stop = mixing.region
        mixed[start:stop] = second[start:stop]
        return mixed
    x0, y0, x1, y1 = mixing.region
    here, there = mixed, second
    if first.ndim == 2:
        before, edge = token_grid(len(first))
        if mixing.lam < 0.5:
            mixed[:before] = second[:before]
        here, there = (tokens[before:].reshape(edge, edge, -1) for tokens in (mixed, second))
    here[y0:y1, x0:x1] = there[y0:y1, x0:x1]
    return mixed


class TokenGrid(NamedTuple):
    """How the tokens of an image encoder lie: `before` class tokens (0 or 1), then edge x edge patches."""

    before: int
    edge: int


def token_grid(tokens: int) -> TokenGrid:
    """Return the grid of a number of tokens: 729 are 27x27 patches, 257 a class token and 16x16 patches.

    The patches stand row by row, as a vision transformer reads an image (Dosovitskiy et al. 2021). Raises
    ValueError if they are no square grid.
    """
    for before in (0, 1):
        edge = math.isqrt(max(tokens - before, 0))
        if edge > 1 and before + edge * edge == tokens:
            return TokenGrid(before, edge)
    raise ValueError(f"{tokens} tokens are no square grid of patches, with or without a class token")


def mix_pixels(
    mix: Mix, first: Image.Image, second: Image.Image, *, alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Mixing]:
    """Return the mix of random resized crops c1 and c2, (224, 224, 3), rounded to whole levels."""
    boxes = tuple(random_resized_crop(image.width, image.height, rng) for image in (first, second))
    a, b = crop_to_square(first, boxes[0]), crop_to_square(second, boxes[1])
    mixing = mix.draw(a.shape, alpha=alpha, rng=rng)
    # The type decides how the mix is rounded, and with it some levels.
    mixed = mix.apply(a.astype(np.float32), b.astype(np.float32), mixing)
    return np.rint(mixed).astype(np.uint8), replace(mixing, crops=boxes)


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


def cutmix_span(lam: float, size: int, rng: np.random.Generator) -> tuple[tuple[int, int], float]:
    """Return a span [start, stop) of round((1-λ)·size) with a uniform centre, clipped, and λ after that."""
    length = round((1 - lam) * size)
    begin = int(rng.integers(size)) - length // 2
    start, stop = max(begin, 0), min(begin + length, size)
    return (start, stop), 1 - (stop - start) / size


def why_unfit(method: Method, shape: Shape) -> str:
    """Return why a method cannot mix embeddings of a shape; an empty text if it can."""
    if method.embeddings is not None:
        try:
            method.embeddings.draw(shape, alpha=1.0, rng=np.random.default_rng(0))
        except ValueError as error:
            return str(error)
    return ""


def draw_kept(shape: Shape, *, probability: float, drops: str, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw what dropout keeps of an embedding, as an array that broadcasts to its shape.

    `drops` is "coordinates", of which all tokens of an embedding lose the same, or "tokens".
    """
    if drops == "tokens":
        return rng.random((shape[0], 1)) >= probability
    return rng.random(shape[-1]) >= probability


def drop(
    embedding: NDArray[np.float32],
    kept: NDArray[np.bool_],
    *,
    null: NDArray[np.float32],
    probability: float,
    rescale: bool,
) -> NDArray[np.float32]:
    """Return an embedding that has the values of the null where `kept` (see `draw_kept`) is False.

    `rescale` divides by 1 - probability how far the others are from the null, as a Dropout layer does with a
    null of zeros (the paper's footnote 1); the paper's numbers were made without it. A probability of 1 gives
    the null as it is (the end of the paper's Figure 6).
    """
    if probability == 1:
        return null.copy()
    if not null.any():
        # The null of the paper's model. A product, since it keeps the sign of a zero as releases have it.
        remaining = embedding * kept.astype(np.float32)
        return remaining / np.float32(1 - probability) if rescale else remaining
    scaled = null + (embedding - null) / np.float32(1 - probability) if rescale else embedding
    return np.where(kept, scaled, null)


def crop_to_square(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Return the pixels of a box [x, y, w, h], resized to (224, 224, 3) uint8."""
    x, y, w, h = box
    crop = image.crop((x, y, x + w, y + h))
    return np.asarray(crop.resize((CROP, CROP), Image.Resampling.BILINEAR), dtype=np.uint8)


MIXUP = Mix(draw_mixup, blend)
CUTMIX = Mix(draw_cutmix, paste, has_region=True)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("random-image", "f(x1): the embedding of one real image", sources=1),
        Method("dropout", "drop(f(x1)): coordinates dropped", sources=1, drops=True),
        Method("mixup", "f(mixup(x1, x2)): two images blended", sources=2, pixels=MIXUP),
        Method("cutmix", "f(cutmix(x1, x2)): a box of one in the other", sources=2, pixels=CUTMIX),
        Method(
            "embed-mixup",
            "mixup(f(x1), f(x2)): two embeddings blended",
            sources=2,
            embeddings=MIXUP,
        ),
        Method(
            "embed-cutmix",
            "cutmix(f(x1), f(x2)): a span of coordinates from the other",
            sources=2,
            embeddings=CUTMIX,
        ),
        Method(
            "mixup-dropout",
            "drop(f(mixup(x1, x2))): two images blended, coordinates dropped",
            sources=2,
            pixels=MIXUP,
            drops=True,
        ),
        Method(
            "cutmix-dropout",
            "drop(f(cutmix(x1, x2))): a box of one in the other, coordinates dropped",
            sources=2,
            pixels=CUTMIX,
            drops=True,
        ),
        Method(
            "embed-mixup-dropout",
            "drop(mixup(f(x1), f(x2))): two embeddings blended, coordinates dropped",
            sources=2,
            embeddings=MIXUP,
            drops=True,
        ),
        Method(
            "embed-cutmix-dropout",
            "drop(cutmix(f(x1), f(x2))): a span of coordinates from the other, coordinates dropped",
            sources=2,
            embeddings=CUTMIX,
            drops=True,
        ),
        Method("text-only", "zeros: the class name alone", sources=0),
        Method(
            # He et al., Is synthetic data from generative models ready for image recognition?, arXiv
            # 2210.07574, by SDEdit: Meng et al., arXiv 2108.01073.
            "real-guidance",
            "sdedit(x1): the class name alone, from a real image noised at a strength",
            sources=1,
            starts=True,
        ),
        Method(
            # Geng et al., The Unmet Promise of Synthetic Training Images: Using Retrieved Real Images
            # Performs Better, arXiv 2406.05184.
            "retrieval",
            "nearest(mean f(x)): real images of another source, nearest to the class; nothing is generated",
            sources=0,
            retrieves=True,
        ),
        Method(
            # Trabucco et al., Effective Data Augmentation With Diffusion Models, arXiv 2302.07944; the token
            # is that of Gal et al., An Image is Worth One Word, arXiv 2208.01618.
            "da-fusion",
            "sdedit(x1): a token learned from the class, from a real image noised at a strength",
            sources=1,
            starts=True,
            learns=True,
        ),
        Method(
            # Shin et al., Fill-Up: Balancing Long-Tailed Data with Generative Models, arXiv 2306.07200.
            "fill-up",
            "zeros: a token learned from the class, alone",
            sources=0,
            learns=True,
        ),
    )
}
