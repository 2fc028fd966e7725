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


# Of a range of strengths, to take a mean.
_PLACES = 100
# A number, a range (lowest, highest) from which each image draws, or choices.
Strength = float | tuple[float, float] | Choices


def draw_scale(scale: float | tuple[float, float], *, rng: np.random.Generator) -> float:
    """Return how much an image counts against the text: a number as it is, of a range a uniform draw.

    Source: Huang et al., DALDA, arXiv 2409.16949, which draws the weight of an IP-Adapter for each image.
    """
    return float(rng.uniform(*scale)) if isinstance(scale, tuple) else scale


def draw_strength(strength: Strength, *, rng: np.random.Generator) -> float:
    """Return the strength at which an image's start is noised: a number as it is, else a draw."""
    if isinstance(strength, Choices):
        return strength.choices[int(rng.integers(len(strength.choices)))]
    return float(rng.uniform(*strength)) if isinstance(strength, tuple) else strength


def lowest_strength(strength: Strength) -> float:
    """Return the lowest strength that can be drawn."""
    if isinstance(strength, Choices):
        return min(strength.choices)
    return strength[0] if isinstance(strength, tuple) else strength


def spread_strengths(strength: Strength | None) -> list[float]:
    """Return strengths whose mean stands for all that are drawn: a range at a hundred even places.

    Images that begin from none run all steps, as at strength 1.
    """
    if strength is None:
        return [1.0]
    if isinstance(strength, Choices):
        return [*strength.choices]
    if isinstance(strength, tuple):
        return [float(place) for place in np.linspace(*strength, _PLACES)]
    return [strength]


def told_strength(strength: Strength) -> str:
    """Return a strength in words."""
    if isinstance(strength, Choices):
        return f"one of {', '.join(f'{value:g}' for value in strength.choices)} for each image"
    if isinstance(strength, tuple):
        return f"from {strength[0]:g} to {strength[1]:g}, drawn for each image"
    return f"{strength:g}"


def steps_left(steps: int, strength: float) -> int:
    """Return how many of the sampler's steps run from a real image that is noised at a strength.

    They are the last int(steps·strength), as in the image-to-image pipelines of diffusers.
    """
    return min(int(steps * strength), steps)


def start_pixels(image: Image.Image, edge: int) -> NDArray[np.uint8]:
    """Return the (edge, edge, 3) pixels that an image begins from: the largest centred square, resized."""
    square = ImageOps.fit(image, (edge, edge), Image.Resampling.LANCZOS)
    return np.asarray(square, dtype=np.uint8)
