"""Digits and letters of the fonts as masks, from which pictures are drawn."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from synthkit.sources.digits import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64  # of a mask: twice the side of a picture
INK = 44  # the longer side of the ink in its mask
FACES = 6  # of a package, at most, evenly spaced in the order of their names, so that no family dominates
CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
# The word and the numeral of a digit; a letter is the same class in both cases.
NAMES = tuple((word, str(digit)) for digit, word in enumerate(CLASSES)) + tuple(
    (f"letter {letter}",) for letter in string.ascii_lowercase
)
DIGITS = len(CLASSES)


class Glyphs(NamedTuple):
    """Masks (N, 64, 64) uint8 of glyphs, their classes (N,), and the packages that they are from (N,)."""

    masks: Tensor
    classes: Tensor
    packages: Tensor


def class_of(character: str) -> int:
    """Return the class of a digit or a letter: 0 to 9, then 10 to 35 for a to z."""
    return int(character) if character.isdigit() else DIGITS + string.ascii_lowercase.index(character.lower())


def render(files: dict[str, list[Path]]) -> Glyphs:
    """Render all characters of the faces that have them. Raises SystemExit if no face has."""
    masks, classes, packages = [], [], []
    for package, paths in enumerate(files.values()):
        for path in _spaced([path for path in paths if _has_all(path)]):
            face = ImageFont.truetype(str(path), 4 * SIDE, layout_engine=ImageFont.Layout.BASIC)
            for character, mask in _masks(face):
                masks.append(mask)
                classes.append(class_of(character))
                packages.append(package)
    if not masks:
        raise SystemExit("no font has digits and letters")
    return Glyphs(torch.from_numpy(np.stack(masks)), torch.tensor(classes), torch.tensor(packages))


def _has_all(path: Path) -> bool:
    with TTFont(path, lazy=True) as font:
        known = font.getBestCmap() or {}
    return all(ord(character) in known for character in CHARACTERS)


def _spaced(paths: list[Path]) -> list[Path]:
    count = min(FACES, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]


def _masks(face: ImageFont.FreeTypeFont) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for character in CHARACTERS:
        left, top, right, bottom = face.getbbox(character)
        if right <= left or bottom <= top:
            continue
        glyph = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(glyph).text((-left, -top), character, fill=255, font=face)
        scale = INK / max(glyph.size)
        size = max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))
        mask = Image.new("L", (SIDE, SIDE))
        mask.paste(glyph.resize(size, Image.Resampling.BOX), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
        yield character, np.asarray(mask)
