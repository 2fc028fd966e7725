"""Draw the history of one image: its real sources, the augmented conditioning, the result.

A conditioning in pixels is drawn as the mixed image. One in embedding space is drawn as a grid of its
coordinates, or of its tokens, coloured by where each comes from: the first source, the second, or neither if
it was dropped.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from synthkit.conditioning import METHODS, draw_kept, mix_pixels, token_grid
from synthkit.errors import ReleaseError
from synthkit.generators import embedding_shape
from synthkit.inspection.recorded_model import find_checkpoint_here
from synthkit.inspection.recorded_sources import retrieved_of, sources_of
from synthkit.levels import start_pixels, steps_left
from synthkit.release.records import Provenance6, Provenance8
from synthkit.release.samples import FIRST, INK, SECOND, SOFT, SYNTHETIC, drawable, fit, font
from synthkit.release.seeds import Stream, attempt_seed, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthkit.recipe.schema import Recipe
    from synthkit.release.image import StoredImage
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance
    from synthkit.sources.pool import RealImages

_TILE, _GAP, _TOP = 224, 24, 84
_DROPPED = (244, 245, 247)


class _Panel(NamedTuple):
    title: str
    note: str
    image: Image.Image
    frame: tuple[int, int, int]


def history_picture(received: Received, stored: StoredImage) -> bytes:
    """Return the picture as a PNG file.

    Raises SourceError if a real source is missing or has changed, and ReleaseError if the synthetic image
    cannot be read or its record cannot be true.
    """
    manifest, record = received.manifest, stored.record
    real = sources_of(received, [record])
    panels = [
        *_sources(record, real),
        *_retrieved(received, record),
        *_conditioning(received, record, real),
    ]
    note = f"{record.class_name}, seed {record.seed}"
    panels.append(_Panel(manifest.what, note, stored.pixels(), SYNTHETIC))
    width = _GAP + len(panels) * (_TILE + _GAP)
    sheet = Image.new("RGB", (max(width, 560), _TOP + _TILE + 60), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 16), f"{manifest.name} {manifest.version}: {record.key}", fill=INK, font=font(22))
    draw.text((_GAP, 48), record.method, fill=SOFT, font=font(14))
    for place, panel in enumerate(panels):
        _draw_panel(sheet, draw, panel, _GAP + place * (_TILE + _GAP))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_panel(sheet: Image.Image, draw: ImageDraw.ImageDraw, panel: _Panel, left: int) -> None:
    sheet.paste(fit(panel.image, _TILE), (left, _TOP))
    draw.rectangle((left - 3, _TOP - 3, left + _TILE + 2, _TOP + _TILE + 2), outline=panel.frame, width=3)
    draw.text((left, _TOP + _TILE + 10), panel.title, fill=INK, font=font(15))
    draw.text((left, _TOP + _TILE + 32), drawable(panel.note, 34), fill=SOFT, font=font(12))


def _sources(record: Provenance, real: RealImages) -> list[_Panel]:
    names, colours = ("first source", "second source"), (FIRST, SECOND)
    panels = []
    for place, source in enumerate(record.sources):
        image = real.load(real.listing.ids.index(source.id))
        if record.crops:
            x, y, w, h = record.crops[place]
            if not (w and h and x + w <= image.width and y + h <= image.height):
                raise ReleaseError(
                    f"{record.key}: its record's crop {[x, y, w, h]} is not a part of {source.id}, which is "
                    f"{image.width}x{image.height}"
                )
            line = max(1, image.width // 120)
            ImageDraw.Draw(image).rectangle((x, y, x + w - 1, y + h - 1), outline=colours[place], width=line)
        panels.append(_Panel(names[place], source.id, image, colours[place]))
    return panels


def _retrieved(received: Received, record: Provenance) -> list[_Panel]:
    """Return the panel of the real image that was retrieved, if one was."""
    if not isinstance(record, Provenance8):
        return []
    image = retrieved_of(received, [record]).load(0)
    return [_Panel(f"of another source, {record.similarity:.3f}", record.retrieved_id, image, FIRST)]


def _conditioning(received: Received, record: Provenance, real: RealImages) -> list[_Panel]:
    """Return the panel of the conditioning, or of what the image begins from.

    There is none for a prompt alone, or if the model is not here.
    """
    method = METHODS[record.method]
    if not method.sources:
        return []
    if isinstance(record, Provenance6):
        image = real.load(real.listing.ids.index(record.sources[0].id))
        note = f"the last {steps_left(record.steps, record.strength)} of {record.steps} steps"
        begins = Image.fromarray(start_pixels(image, _TILE))
        return [_Panel(f"begins from it at {record.strength:.3f}", note, begins, SOFT)]
    note = f"{record.lam:.2f} of the first" if method.sources == 2 else "the first alone"
    if method.pixels is not None:
        first, second = (real.load(real.listing.ids.index(source.id)) for source in record.sources)
        rng = stream(attempt_seed(record.seed, record.attempt), Stream.MIX)
        alpha = received.recipe.conditioning.alpha
        pixels, _ = mix_pixels(method.pixels, first, second, alpha=alpha, rng=rng)
        return [_Panel("conditioning, mixed", note, Image.fromarray(pixels), SOFT)]
    shape = _embedding_shape(received)
    if shape is None:
        return []
    what, drops = "coordinates" if len(shape) == 1 else "tokens", received.recipe.conditioning.drops
    dropped = f", {record.dropout:.0%} dropped" if record.dropout else ""
    if record.dropout and what != drops:
        # Of every token the same ones, which the picture of tokens cannot show.
        dropped = f", {record.dropout:.0%} of {drops} dropped"
    colours = _colours(received.recipe, record, shape)
    return [_Panel(f"conditioning, {shape[0]} {what}", note + dropped, _grid(colours, shape), SOFT)]


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
        colours[~kept.ravel()] = _DROPPED
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
    """Draw colours row by row, as in a text.

    Patches of tokens so lie as they do in an image; a class token stands above them.
    """
    before, edge = _laid_out(shape)
    grid = np.full(((before + edge) * edge, 3), 255, dtype=np.uint8)
    grid[:before] = np.rint(colours[:before])
    patches = np.rint(colours[before:])
    grid[before * edge :][: len(patches)] = patches
    picture = Image.fromarray(grid.reshape(-1, edge, 3))
    return picture.resize((_TILE, _TILE), Image.Resampling.NEAREST)


def _laid_out(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many class tokens an embedding has, and how many coordinates or patches make a row."""
    if len(shape) == 2:
        with suppress(ValueError):
            return token_grid(shape[0])
    return 0, int(np.ceil(np.sqrt(shape[0])))


def _embedding_shape(received: Received) -> tuple[int, ...] | None:
    """Return the shape of the model's embeddings; None if the model is not on this machine."""
    checkpoint = find_checkpoint_here(received)
    return None if checkpoint is None else embedding_shape(checkpoint)
