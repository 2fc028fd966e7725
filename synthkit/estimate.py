"""What a plan will cost in bytes and seconds, from the last build like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.generators import image_edge
from synthkit.generators.checkpoint import find_local
from synthkit.work import last_rate, rate_key

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.recipe import Output, Recipe

# Bytes per pixel of typical photographs, for the time before a first build.
_BYTES_PER_PIXEL = {"png": 1.6, "jpeg": 0.5, "webp": 0.3}
# Tar headers, padding, label and record of one sample.
_OVERHEAD = 4096


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes and seconds; None where nothing is known. `measured` says that a build was."""

    bytes: int | None
    seconds: float | None
    measured: bool


def estimate(recipe: Recipe, images: int, work_root: Path) -> Estimate:
    """Estimate a build of so many images without loading the model."""
    checkpoint = find_local(recipe.model)
    if checkpoint is None:
        return Estimate(_bytes(images, recipe.output, recipe.output.size), None, measured=False)
    rate = last_rate(work_root, rate_key(recipe, checkpoint))
    if rate is not None:
        size = round(images * rate["bytes_per_image"])
        return Estimate(size, images / rate["images_per_second"], measured=True)
    edge = recipe.output.size or image_edge(checkpoint)
    return Estimate(_bytes(images, recipe.output, edge), None, measured=False)


def _bytes(images: int, output: Output, edge: int | None) -> int | None:
    if edge is None:
        return None
    return round(images * (edge * edge * _BYTES_PER_PIXEL[output.format] + _OVERHEAD))
