"""samples.png: one row for each class, with real images beside the synthetic images made from them."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = 6
MAX_ROWS = 12

_TILE = 96
_SMALL = 46
_GAP = 4
_COLUMN = _SMALL + _GAP + _TILE + 18
_LEFT = 150
_TOP = 74
_ROW = _TILE + 14
INK, SOFT, SYNTHETIC = (24, 28, 36), (110, 118, 130), (214, 92, 46)
# The frames of a first and a second real image.
FIRST, SECOND = (46, 110, 190), (240, 170, 50)


@dataclass(frozen=True, slots=True)
class Example:
    """One synthetic image and the real ones it was conditioned on."""

    sources: Sequence[Image.Image]
    image: Image.Image


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One row of the sheet: a class."""

    name: str
    note: str
    examples: Sequence[Example]


def pick_labels(labels: Sequence[int]) -> list[int]:
    """Return at most MAX_ROWS labels, evenly spread, with the first and the last."""
    if len(labels) <= MAX_ROWS:
        return list(labels)
    return [labels[round(i * (len(labels) - 1) / (MAX_ROWS - 1))] for i in range(MAX_ROWS)]


def sheet_size(rows: int, columns: int) -> tuple[int, int]:
    """Return the width and height in pixels of a sheet whose longest row has so many examples."""
    return max(_LEFT + columns * _COLUMN + 12, 640), _TOP + rows * _ROW + 10


def contact_sheet(title: str, subtitle: str, rows: Sequence[SampleRow]) -> bytes:
    """Draw the sheet; return it as a PNG file."""
    size = sheet_size(len(rows), max(len(row.examples) for row in rows))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((16, 14), title, fill=INK, font=font(22))
    draw.text((16, 44), subtitle, fill=SOFT, font=font(14))
    for number, row in enumerate(rows):
        _draw_row(sheet, draw, row, _TOP + number * _ROW)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: SampleRow, top: int) -> None:
    draw.text((16, top + 26), drawable(row.name), fill=INK, font=font(17))
    draw.text((16, top + 50), row.note, fill=SOFT, font=font(13))
    for column, example in enumerate(row.examples):
        left = _LEFT + column * _COLUMN
        offset = 0 if len(example.sources) > 1 else (_TILE - _SMALL) // 2
        for place, source in enumerate(example.sources):
            sheet.paste(fit(source, _SMALL), (left, top + offset + place * (_SMALL + _GAP)))
        at = left + _SMALL + _GAP
        sheet.paste(fit(example.image, _TILE), (at, top))
        draw.rectangle((at - 2, top - 2, at + _TILE + 1, top + _TILE + 1), outline=SYNTHETIC, width=2)


def fit(image: Image.Image, edge: int) -> Image.Image:
    """Return the image in a grey square; a small one is enlarged smoothly, so that a digit stays legible."""
    square = Image.new("RGB", (edge, edge), (236, 238, 241))
    scale = edge / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resized = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    square.paste(resized, ((edge - size[0]) // 2, (edge - size[1]) // 2))
    return square


def drawable(name: str, letters: int = 15) -> str:
    """Return a name as the built-in font can draw it: shortened, without accents, other scripts as `?`."""
    plain = unicodedata.normalize("NFKD", name)
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    text = kept.encode("ascii", "replace").decode()
    return text if len(text) <= letters else f"{text[: letters - 2]}..."


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that ships with Pillow, which is the same on every machine."""
    return ImageFont.load_default(size)
