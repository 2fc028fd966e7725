"""Draw the history of one image: its real sources, the augmented conditioning, the result.

A conditioning in pixels is drawn as the mixed image. One in embedding space is drawn as a grid of its
coordinates, coloured by where each comes from: the first source, the second, or neither if it was dropped.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from synthkit.conditioning import METHODS, drop
from synthkit.errors import ReleaseError
from synthkit.generators import embedding_shape
from synthkit.inspection.recorded_model import find_checkpoint_here
from synthkit.inspection.recorded_sources import sources_of
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
    panels = [*_sources(record, real), *_conditioning(received, record, real)]
    note = f"{record.class_name}, seed {record.seed}"
    panels.append(_Panel("synthetic", note, stored.pixels(), SYNTHETIC))
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


def _conditioning(received: Received, record: Provenance, real: RealImages) -> list[_Panel]:
    """Return the panel of the conditioning; none for a prompt alone, or if the model is not here."""
    method = METHODS[record.method]
    if not method.sources:
        return []
    note = f"{record.lam:.2f} of the first" if method.sources == 2 else "the first alone"
    if method.pixels is not None:
        first, second = (real.load(real.listing.ids.index(source.id)) for source in record.sources)
        rng = stream(attempt_seed(record.seed, record.attempt), Stream.MIX)
        pixels, _ = method.pixels(first, second, alpha=received.recipe.conditioning.alpha, rng=rng)
        return [_Panel("conditioning, mixed", note, Image.fromarray(pixels), SOFT)]
    size = _embedding_size(received)
    if size is None:
        return []
    dropped = f", {record.dropout:.0%} dropped" if record.dropout else ""
    return [
        _Panel(
            f"conditioning, {size} coordinates", note + dropped, _grid(received.recipe, record, size), SOFT
        )
    ]


def _grid(recipe: Recipe, record: Provenance, size: int) -> Image.Image:
    """Draw the coordinates row by row, as in a text, each in the colour of the source that it comes from."""
    colours = np.tile(np.array(FIRST, dtype=np.float64), (size, 1))
    if len(record.region) == 2:
        colours[slice(*record.region)] = SECOND
    elif len(record.sources) == 2:
        colours[:] = record.lam * np.array(FIRST) + (1 - record.lam) * np.array(SECOND)
    if record.dropout:
        colours[~_kept(recipe, record, size)] = _DROPPED
    edge = int(np.ceil(np.sqrt(size)))
    grid = np.full((edge * edge, 3), 255, dtype=np.uint8)
    grid[:size] = np.rint(colours)
    return Image.fromarray(grid.reshape(edge, edge, 3)).resize((_TILE, _TILE), Image.Resampling.NEAREST)


def _kept(recipe: Recipe, record: Provenance, size: int) -> NDArray[np.bool_]:
    """Return which of the coordinates dropout kept: (D,), drawn again from the record's seed."""
    rng = stream(attempt_seed(record.seed, record.attempt), Stream.DROP)
    ones = np.ones(size, dtype=np.float32)
    kept = drop(ones, probability=record.dropout, rescale=recipe.conditioning.rescale, rng=rng)
    return np.asarray(kept != 0)


def _embedding_size(received: Received) -> int | None:
    """Return D of the release's model; None if the model is not on this machine."""
    checkpoint = find_checkpoint_here(received)
    shape = None if checkpoint is None else embedding_shape(checkpoint)
    return None if shape is None else shape[-1]
