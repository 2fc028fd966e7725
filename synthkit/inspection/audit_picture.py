"""Draws audit.png: the pairs that look most like copies, and the largest groups of near duplicates."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from synthkit.release.audit import COLUMNS, HIGH, PICTURED_MEMBERS, TITLE, WIDE, picture_size
from synthkit.release.samples import FIRST, INK, SOFT, SYNTHETIC, drawable, fit, font

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.release.audit import Group, Pair

_LEFT, _TILE, _GAP = 16, 112, 8


def picture(
    pairs: Sequence[Pair],
    groups: Sequence[Group],
    images: Mapping[str, Image.Image],
    real: Mapping[str, Image.Image],
) -> bytes:
    """Draw the pairs, synthetic beside real, with their numbers, and below them a row for each group.

    `images` are the synthetic images by key, `real` the real ones by part and id.
    """
    sheet = Image.new("RGB", picture_size(len(pairs), len(groups)), "white")
    draw = ImageDraw.Draw(sheet)
    _title(draw, 0, "Nearest pairs: synthetic, and the real image it is nearest to")
    for number, pair in enumerate(pairs):
        left, top = _pair_corner(number)
        _paste(sheet, draw, images[pair.key], (left, top), SYNTHETIC)
        _paste(sheet, draw, real[f"{pair.part}/{pair.real}"], (left + _TILE + _GAP, top), FIRST)
        _caption(draw, (left, top), *_about_pair(pair), letters=42)
    top = sheet.height - len(groups) * HIGH
    if groups:
        _title(draw, top - TITLE, "Largest groups of near duplicates among the synthetic images")
    for number, group in enumerate(groups):
        for place, key in enumerate([*group.members][:PICTURED_MEMBERS]):
            at = (_LEFT + place * (_TILE + _GAP), top + number * HIGH)
            _paste(sheet, draw, images[key], at, SYNTHETIC)
        _caption(draw, (_LEFT, top + number * HIGH), *_about_group(group), letters=150)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def real_tiles(sheet: Image.Image, pairs: int, groups: int) -> list[Image.Image] | None:
    """Return the real image of each pair, cut out of the picture of an audit; None if it is another picture.

    The picture was made of so many pairs and groups.
    """
    if sheet.size != picture_size(pairs, groups):
        return None
    corners = [_pair_corner(number) for number in range(pairs)]
    return [sheet.crop((x + _TILE + _GAP, y, x + 2 * _TILE + _GAP, y + _TILE)) for x, y in corners]


def _pair_corner(number: int) -> tuple[int, int]:
    """Return where the left and upper edges of a pair are."""
    return _LEFT + number % COLUMNS * WIDE, TITLE + number // COLUMNS * HIGH


def _about_pair(pair: Pair) -> tuple[str, str]:
    kind = "exact copy" if pair.exact else "suspected" if pair.suspected else "not suspected"
    source = ", its source" if pair.source else ""
    return f"{pair.similarity:.3f}, {pair.distance} bits: {kind}", f"{pair.key} / {pair.real}{source}"


def _about_group(group: Group) -> tuple[str, str]:
    counts = (
        (group.exact, "with the same pixels"),
        (group.perceptual, "with near hashes"),
        (group.embedding, "with near embeddings"),
    )
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    names = ", ".join(dict.fromkeys(group.members.values()))
    shown = [*group.members][:PICTURED_MEMBERS]
    more = f" and {group.images - len(shown):,} more" if group.images > len(shown) else ""
    return f"{group.images:,} images: {told}", f"{names}: {', '.join(shown)}{more}"


def _title(draw: ImageDraw.ImageDraw, top: int, text: str) -> None:
    draw.text((_LEFT, top + 14), text, fill=INK, font=font(20))


def _paste(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    image: Image.Image,
    at: tuple[int, int],
    frame: tuple[int, int, int],
) -> None:
    sheet.paste(fit(image, _TILE), at)
    x, y = at
    draw.rectangle((x - 2, y - 2, x + _TILE + 1, y + _TILE + 1), outline=frame, width=2)


def _caption(draw: ImageDraw.ImageDraw, at: tuple[int, int], told: str, note: str, *, letters: int) -> None:
    x, y = at
    draw.text((x, y + _TILE + 8), told, fill=INK, font=font(13))
    draw.text((x, y + _TILE + 26), drawable(note, letters), fill=SOFT, font=font(11))
