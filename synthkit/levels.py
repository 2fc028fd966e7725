"""How much a real image counts in what is made from it, and how this is drawn for each image.

It is a strength, at which the image is noised that another begins from, or a weight of the image against the
text. Every function draws from the random generator that it is given, and has no other effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The largest weight of an image against the text.
MAX_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class Choices:
    """Numbers of which each image draws one by its seed, all of them equally often."""

    choices: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Levels:
    """Numbers at each of which every real image is taken.

    The images planned for a class are one real image at all levels, in order, then the next real image at
    all, and so on from the first. Source: Liang et al., Diffusion Curriculum, arXiv 2410.13674, section 3.1
    and Table 5, where each real image is taken at every level of image guidance, several times.
    """

    levels: tuple[float, ...]


# Of a range of strengths, to take a mean.
_PLACES = 100
# A strength or a weight: a number, a range (lowest, highest) from which each image draws, choices, or levels.
Amount = float | tuple[float, float] | Choices | Levels


def draw_amount(amount: Amount, level: int, *, rng: np.random.Generator) -> float:
    """Return a strength or a weight: a number as it is, of a range or choices a uniform draw.

    Of levels it is the one with the index `level`. Source of a weight that is drawn for each image: Huang et
    al., DALDA, arXiv 2409.16949.
    """
    if isinstance(amount, Levels):
        return amount.levels[level]
    if isinstance(amount, Choices):
        return amount.choices[int(rng.integers(len(amount.choices)))]
    return float(rng.uniform(*amount)) if isinstance(amount, tuple) else amount


def several(amount: Amount | None) -> tuple[float, ...]:
    """Return the numbers of which an image has one; none if it is one number, or of a range."""
    if isinstance(amount, Levels):
        return amount.levels
    return amount.choices if isinstance(amount, Choices) else ()


def lowest_strength(strength: Amount) -> float:
    """Return the lowest strength that can be drawn."""
    if isinstance(strength, Choices | Levels):
        return min(several(strength))
    return strength[0] if isinstance(strength, tuple) else strength


def spread_strengths(strength: Amount | None) -> list[float]:
    """Return strengths whose mean stands for all that are drawn: a range at a hundred even places.

    Images that begin from none run all steps, as at strength 1.
    """
    if strength is None:
        return [1.0]
    if isinstance(strength, Choices | Levels):
        return [*several(strength)]
    if isinstance(strength, tuple):
        return [float(place) for place in np.linspace(*strength, _PLACES)]
    return [strength]


def told_amount(amount: Amount) -> str:
    """Return a strength or a weight in words."""
    if isinstance(amount, Choices | Levels):
        numbers = ", ".join(f"{value:g}" for value in several(amount))
        each = isinstance(amount, Levels)
        return f"every real image at each of {numbers}" if each else f"one of {numbers} for each image"
    if isinstance(amount, tuple):
        return f"from {amount[0]:g} to {amount[1]:g}, drawn for each image"
    return f"{amount:g}"


def steps_left(steps: int, strength: float) -> int:
    """Return how many of the sampler's steps run from a real image that is noised at a strength.

    They are the last int(steps·strength), as in the image-to-image pipelines of diffusers.
    """
    return min(int(steps * strength), steps)


def start_pixels(image: Image.Image, edge: int) -> NDArray[np.uint8]:
    """Return the (edge, edge, 3) pixels that an image begins from: the largest centred square, resized."""
    square = ImageOps.fit(image, (edge, edge), Image.Resampling.LANCZOS)
    return np.asarray(square, dtype=np.uint8)
