"""Draw the conditioning of one image: the mixed pixels, or which coordinates of an embedding come from where.

A conditioning in pixels is the mixed image. One in embedding space is a grid of its coordinates, or of its
tokens, coloured by where each comes from: the first source, the second, or neither if it was dropped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from synthkit.conditioning import CROP, METHODS, draw_kept, mix_pixels, token_grid
from synthkit.errors import ReleaseError
from synthkit.generators import embedding_shape
from synthkit.inspection.recorded_model import find_checkpoint_here
from synthkit.levels import start_pixels, steps_left
from synthkit.release.records import Provenance6
from synthkit.release.samples import FIRST, SECOND
from synthkit.release.seeds import Stream, attempt_seed, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance

DROPPED = (244, 245, 247)


class Conditioning(NamedTuple):
    """What an image was conditioned on, drawn: a title, a note, and the picture.

    `cells` says that each pixel of the picture is a coordinate or a token, to be enlarged without blurring.
    """

    title: str
    note: str
    image: Image.Image
    cells: bool


def conditioning_of(
    received: Received, record: Provenance, sources: Sequence[Image.Image], shape: tuple[int, ...] | None
) -> Conditioning | None:
    """Draw what an image was conditioned on, or what it begins from, given its real sources (RGB).

    `shape` is that of the model's embeddings, as `embedding_shape_here` returns it. None for a prompt alone,
    and for embeddings whose shape is not known. Raises ReleaseError if the record cannot be true.
    """
    method = METHODS[record.method]
    if not method.sources:
        return None
    if isinstance(record, Provenance6):
        note = f"the last {steps_left(record.steps, record.strength)} of {record.steps} steps"
        begins = Image.fromarray(start_pixels(sources[0], CROP))
        return Conditioning(f"begins from it at {record.strength:.3f}", note, begins, cells=False)
    note = f"{record.lam:.2f} of the first" if method.sources == 2 else "the first alone"
    if method.pixels is not None:
        first, second = sources
        rng = stream(attempt_seed(record.seed, record.attempt), Stream.MIX)
        alpha = received.recipe.conditioning.alpha
        pixels, _ = mix_pixels(method.pixels, first, second, alpha=alpha, rng=rng)
        return Conditioning("conditioning, mixed", note, Image.fromarray(pixels), cells=False)
    if shape is None:
        return None
    what, drops = "coordinates" if len(shape) == 1 else "tokens", received.recipe.conditioning.drops
    dropped = f", {record.dropout:.0%} dropped" if record.dropout else ""
    if record.dropout and what != drops:
        # Of every token the same ones, which the picture of tokens cannot show.
        dropped = f", {record.dropout:.0%} of {drops} dropped"
    colours = _colours(received.recipe, record, shape)
    title = f"conditioning, {shape[0]} {what}"
    return Conditioning(title, note + dropped, _grid(colours, shape), cells=True)


def embedding_shape_here(received: Received) -> tuple[int, ...] | None:
    """Return the shape of the model's embeddings; None if the model is not on this machine."""
    checkpoint = find_checkpoint_here(received)
    return None if checkpoint is None else embedding_shape(checkpoint)


def _colours(recipe: Recipe, record: Provenance, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the colour of each coordinate or token, (N, 3): that of the source that it comes from."""
    colours = np.tile(np.array(FIRST, dtype=np.float64), (shape[0], 1))
    if len(record.region) == 2:
        colours[slice(*record.region)] = SECOND
    elif len(record.region) == 4:
        colours[_in_the_box(record, shape[0])] = SECOND
    elif len(record.sources) == 2:
        colours[:] = record.lam * np.array(FIRST) + (1 - record.lam) * np.array(SECOND)
    drops = recipe.conditioning.drops
    if record.dropout and (len(shape) == 1 or drops == "tokens"):
        rng = stream(attempt_seed(record.seed, record.attempt), Stream.DROP)
        kept = draw_kept(shape, probability=record.dropout, drops=drops, rng=rng)
        colours[~kept.ravel()] = DROPPED
    return colours


def _in_the_box(record: Provenance, tokens: int) -> NDArray[np.bool_]:
    """Return which tokens come from the second source, (T,). Raises ReleaseError if they are no grid."""
    x0, y0, x1, y1 = record.region
    try:
        before, edge = token_grid(tokens)
    except ValueError as error:
        raise ReleaseError(f"{record.key}: its record has a box of tokens, and {error}") from None
    patches = np.zeros((edge, edge), dtype=np.bool_)
    patches[y0:y1, x0:x1] = True
    return np.concatenate([np.full(before, record.lam < 0.5), patches.ravel()])


def _grid(colours: NDArray[np.float64], shape: tuple[int, ...]) -> Image.Image:
    """Draw colours row by row, as in a text, one pixel each.

    Patches of tokens so lie as they do in an image; a class token stands above them.
    """
    before, edge = _laid_out(shape)
    grid = np.full(((before + edge) * edge, 3), 255, dtype=np.uint8)
    grid[:before] = np.rint(colours[:before])
    patches = np.rint(colours[before:])
    grid[before * edge :][: len(patches)] = patches
    return Image.fromarray(grid.reshape(-1, edge, 3))


def _laid_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many class tokens an embedding has, and how many coordinates or patches make a row."""
    if len(shape) == 2:
        with suppress(ValueError):
            return token_grid(shape[0])
    return 0, int(np.ceil(np.sqrt(shape[0])))
