"""Draw the history of one image: its real sources, the augmented conditioning, the result."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError
from synthkit.inspection.conditioning_picture import conditioning_of, embedding_shape_here
from synthkit.inspection.recorded_sources import retrieved_of, sources_of
from synthkit.release.records import Provenance8
from synthkit.release.samples import FIRST, INK, SECOND, SOFT, SYNTHETIC, drawable, fit, font

if TYPE_CHECKING:
    from synthkit.release.image import StoredImage
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance
    from synthkit.sources.pool import RealImages

_TILE, _GAP, _TOP = 224, 24, 84


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
    in_pixels = method.pixels is not None or method.starts
    sources = [real.load(real.listing.ids.index(source.id)) for source in record.sources if in_pixels]
    shape = None if in_pixels else embedding_shape_here(received)
    drawn = conditioning_of(received, record, sources, shape)
    if drawn is None:
        return []
    how = Image.Resampling.NEAREST if drawn.cells else Image.Resampling.LANCZOS
    return [_Panel(drawn.title, drawn.note, drawn.image.resize((_TILE, _TILE), how), SOFT)]
