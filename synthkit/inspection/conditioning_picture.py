"""Draw the conditioning of one image: the mixed pixels, or which coordinates of an embedding come from where.

The image is one of a release, with a record, or a planned one, whose seed decides the same.
A conditioning in pixels is the mixed image. One in embedding space is a grid of its coordinates, or of its
tokens, coloured by where each comes from: the first source, the second, or neither if it was dropped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from synthkit.builder.image import Draw, mixed_pixels, mixing_of, strength_of
from synthkit.conditioning import CROP, METHODS, Mixing, draw_kept, token_grid
from synthkit.errors import ReleaseError
from synthkit.generators import embedding_shape
from synthkit.inspection.recorded_model import find_checkpoint_here
from synthkit.levels import start_pixels, steps_left
from synthkit.release.plan import PlannedImage
from synthkit.release.records import Provenance6, key_of
from synthkit.release.samples import FIRST, SECOND
from synthkit.release.seeds import Stream, stream

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
    `crops` are the boxes of the sources whose pixels were mixed.
    """

    title: str
    note: str
    image: Image.Image
    cells: bool
    crops: tuple[tuple[int, ...], ...] = ()


class _Decided(NamedTuple):
    """What decides the conditioning of an image beside its recipe and sources.

    `strength` is None for an image that begins from noise alone.
    """

    key: str
    draw: Draw
    mixing: Mixing
    strength: float | None = None


def conditioning_of(
    received: Received, record: Provenance, sources: Sequence[Image.Image], shape: tuple[int, ...] | None
) -> Conditioning | None:
    """Draw what an image was conditioned on, or what it begins from, given its real sources (RGB).

    `shape` is that of the model's embeddings, as `embedding_shape_here` returns it. None for a prompt alone,
    and for embeddings whose shape is not known. Raises ReleaseError if the record cannot be true.
    """
    if record.method != received.recipe.conditioning.method:
        raise ReleaseError(f"{record.key}: its method is not that of the recipe; run synthkit verify")
    # Its number and class decide nothing here, and its sources are given.
    draw = Draw(PlannedImage(0, record.label, (), record.seed), record.attempt)
    mixing = Mixing(record.lam, record.region)
    strength = record.strength if isinstance(record, Provenance6) else None
    return _drawn(received.recipe, _Decided(record.key, draw, mixing, strength), sources, shape)


def planned_conditioning(
    recipe: Recipe, row: PlannedImage, sources: Sequence[Image.Image], shape: tuple[int, ...] | None
) -> Conditioning | None:
    """Draw what a build would condition the first draw of an image on, as `conditioning_of` does.

    Of embeddings no real image is needed; of pixels, and of what an image begins from, None without them.
    """
    method, draw = METHODS[recipe.conditioning.method], Draw(row)
    if (method.starts or method.pixels is not None) and not sources:
        return None
    mixing = Mixing()
    if method.embeddings is not None and shape is not None:
        mixing = mixing_of(recipe, draw, shape)
    strength = strength_of(recipe, draw) if method.starts else None
    return _drawn(recipe, _Decided(key_of(row.index), draw, mixing, strength), sources, shape)


def _drawn(
    recipe: Recipe, decided: _Decided, sources: Sequence[Image.Image], shape: tuple[int, ...] | None
) -> Conditioning | None:
    method = METHODS[recipe.conditioning.method]
    if not method.sources:
        return None
    if decided.strength is not None:
        steps = recipe.sampler.steps
        note = f"the last {steps_left(steps, decided.strength)} of {steps} steps"
        begins = Image.fromarray(start_pixels(sources[0], CROP))
        return Conditioning(f"begins from it at {decided.strength:.3f}", note, begins, cells=False)
    if method.pixels is not None:
        first, second = sources
        pixels, mixing = mixed_pixels(recipe, decided.draw, first, second)
        image = Image.fromarray(pixels)
        return Conditioning("conditioning, mixed", _share(mixing), image, cells=False, crops=mixing.crops)
    if shape is None:
        return None
    note = _share(decided.mixing) if method.sources == 2 else "the first alone"
    title = f"conditioning, {shape[0]} {_cells(shape)}"
    cells = _grid(_colours(recipe, decided, shape), shape)
    return Conditioning(title, note + _dropped(recipe, shape), cells, cells=True)


def _share(mixing: Mixing) -> str:
    return f"{mixing.lam:.2f} of the first"


def _cells(shape: tuple[int, ...]) -> str:
    return "coordinates" if len(shape) == 1 else "tokens"


def _dropped(recipe: Recipe, shape: tuple[int, ...]) -> str:
    conditioning = recipe.conditioning
    if not METHODS[conditioning.method].drops or not conditioning.dropout:
        return ""
    share, drops = f"{conditioning.dropout:.0%}", conditioning.drops
    # Of every token the same ones, which the picture of tokens cannot show.
    return f", {share} dropped" if drops == _cells(shape) else f", {share} of {drops} dropped"


def embedding_shape_here(received: Received) -> tuple[int, ...] | None:
    """Return the shape of the model's embeddings; None if the model is not on this machine."""
    checkpoint = find_checkpoint_here(received)
    return None if checkpoint is None else embedding_shape(checkpoint)


def _colours(recipe: Recipe, decided: _Decided, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the colour of each coordinate or token, (N, 3): that of the source that it comes from."""
    conditioning, mixing = recipe.conditioning, decided.mixing
    method = METHODS[conditioning.method]
    colours = np.tile(np.array(FIRST, dtype=np.float64), (shape[0], 1))
    if len(mixing.region) == 2:
        colours[slice(*mixing.region)] = SECOND
    elif len(mixing.region) == 4:
        colours[_in_the_box(decided, shape[0])] = SECOND
    elif method.sources == 2:
        colours[:] = mixing.lam * np.array(FIRST) + (1 - mixing.lam) * np.array(SECOND)
    drops, dropout = conditioning.drops, conditioning.dropout if method.drops else 0.0
    if dropout and drops == _cells(shape):
        rng = stream(decided.draw.seed, Stream.DROP)
        kept = draw_kept(shape, probability=dropout, drops=drops, rng=rng)
        colours[~kept.ravel()] = DROPPED
    return colours


def _in_the_box(decided: _Decided, tokens: int) -> NDArray[np.bool_]:
    """Return which tokens come from the second source, (T,). Raises ReleaseError if they are no grid."""
    x0, y0, x1, y1 = decided.mixing.region
    try:
        before, edge = token_grid(tokens)
    except ValueError as error:
        raise ReleaseError(f"{decided.key}: its record has a box of tokens, and {error}") from None
    patches = np.zeros((edge, edge), dtype=np.bool_)
    patches[y0:y1, x0:x1] = True
    return np.concatenate([np.full(before, decided.mixing.lam < 0.5), patches.ravel()])


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
