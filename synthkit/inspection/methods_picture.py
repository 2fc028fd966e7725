"""Pictures of the conditioning methods: all from one pair, dropout from none to all, the class name alone.

They are Figures 4, 6 and 3 of Chen et al. 2025, for the recipe at hand.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from synthkit.conditioning import METHODS
from synthkit.errors import GeneratorError, RecipeError
from synthkit.inspection.methods import Wanted
from synthkit.levels import told_amount
from synthkit.release.samples import FIRST, INK, SECOND, SOFT, SYNTHETIC, drawable, fit, font, pick_labels
from synthkit.system.progress import progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthkit.inspection.methods import MethodImages
    from synthkit.recipe.conditioning import Conditioning

TEXT_ONLY, PLAIN, DROPOUT = "text-only", "random-image", "dropout"
DROPOUTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# Images of each kind in a row of the picture of the class name alone.
OF_A_KIND = 3
_TILE, _SMALL, _GAP = 64, 30, 4
# Where tiles begin beside small images, and beside names alone.
_LEFT, _NARROW = 254, 150
_TOP, _APART, _MARGIN = 108, 22, 16
_ROW, _WIDTH = _TILE + 12, 720
_COLUMNS = "The number above a column is that of the release's image whose seed it has."


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a picture: small real images, and strips of tiles.

    Real images are given by their positions; the others are to be made.
    """

    name: str
    note: str
    sources: Sequence[int]
    strips: Sequence[Sequence[Wanted | int]]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A picture before its images are made: lines above it, heads of the columns of each strip, and rows.

    `left_out` says in a line each what the recipe or its model cannot do.
    """

    title: str
    about: Sequence[str]
    heads: Sequence[Sequence[str]]
    rows: Sequence[Row]
    left_out: Sequence[str] = field(default=())

    @property
    def wanted(self) -> list[Wanted]:
        """The images to make."""
        tiles = chain.from_iterable(strip for row in self.rows for strip in row.strips)
        return [tile for tile in tiles if isinstance(tile, Wanted)]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures as PNG files by their names, and a line for each thing that the model cannot do."""

    pictures: Mapping[str, bytes]
    left_out: Sequence[str]


def draw_all(images: MethodImages, seeds: int) -> Drawn:
    """Draw the three pictures; all their images are made first.

    A picture of which the recipe or its model can make nothing is left out.
    """
    sketches = {
        "methods.png": sketch_methods(images, seeds),
        "dropout.png": sketch_dropout(images, seeds),
        "text-only.png": sketch_text_only(images),
    }
    # One image may stand in several pictures.
    wanted = list(dict.fromkeys(tile for sketch in sketches.values() for tile in sketch.wanted))
    with progress("making images", len(wanted)) as advance:
        made = dict(zip(wanted, images.make(wanted, advance), strict=True))
    pictures = {name: draw(sketch, made, images) for name, sketch in sketches.items() if sketch.rows}
    left_out = dict.fromkeys(line for sketch in sketches.values() for line in sketch.left_out)
    return Drawn(pictures, tuple(left_out))


def sketch_methods(images: MethodImages, seeds: int) -> Sketch:
    """Lay out every method from the pair of a planned image, with so many seeds of images of its class."""
    # Of retrieved images, and of tokens that a build learns, there is nothing to make here.
    ways = [name for name, method in METHODS.items() if not (method.retrieves or method.learns)]
    able, left_out = _able(images, [(name, None) for name in ways])
    columns = _seeds_for(images, seeds)
    rows = [_row(images, how, how.method, _formula(images, how), columns) for how in able]
    about = (
        f"One pair of real images (framed blue and yellow), {_of(images)}, by each method.",
        _COLUMNS,
    )
    return Sketch(_title(images, "the methods"), about, [[str(seed) for seed in columns]], rows, left_out)


def sketch_dropout(images: MethodImages, seeds: int) -> Sketch:
    """Lay out dropout from none to all of the embedding of one real image."""
    able, left_out = _able(images, [(DROPOUT, probability) for probability in DROPOUTS])
    columns = _seeds_for(images, seeds)
    rows = [_row(images, how, f"p = {how.dropout:g}", _dropped(how), columns) for how in able]
    about = (f"One real image (framed blue), {_of(images)}: each row drops more of it.", _COLUMNS)
    return Sketch(_title(images, DROPOUT), about, [[str(seed) for seed in columns]], rows, left_out)


def sketch_text_only(images: MethodImages) -> Sketch:
    """Lay out real images of each class, images from its name alone, and images by the recipe's method."""
    own = images.recipe.conditioning
    method = PLAIN if own.method == TEXT_ONLY or METHODS[own.method].learns else own.method
    able, left_out = _able(images, [(TEXT_ONLY, None), (method, None)])
    if TEXT_ONLY not in (how.method for how in able):
        return Sketch("", (), (), (), left_out)
    heads = [["real"], *([_kind(how)] for how in able)]
    rows = []
    for label in pick_labels(images.labels):
        planned = images.planned_of_class(label, OF_A_KIND)
        real = [int(images.inputs.plan.pairs[index, 0]) for index in planned]
        made = [[images.wanted(how, index, index) for index in planned] for how in able]
        rows.append(Row(images.inputs.real.listing.classes[label], "", (), [real, *made]))
    about = (
        "Real images (framed blue), images from the class name alone, and images by the recipe's method,",
        "which are made from the real image in the same place, and for most methods a second one.",
    )
    return Sketch(_title(images, "the class name alone"), about, heads, rows, left_out)


def _able(
    images: MethodImages, ways: Sequence[tuple[str, float | None]]
) -> tuple[list[Conditioning], list[str]]:
    """Return the conditionings that the recipe can have, and a line for each that it cannot."""
    able, left_out = [], []
    for method, dropout in ways:
        try:
            able.append(images.conditioning(method, dropout))
        except (GeneratorError, RecipeError) as error:
            what = method if dropout is None else f"{method} {dropout:g}"
            left_out.append(f"{what}: {error}")
    return able, left_out


def _row(images: MethodImages, how: Conditioning, name: str, note: str, columns: Sequence[int]) -> Row:
    wanted = [images.wanted(how, images.index, seed) for seed in columns]
    return Row(name, note, wanted[0].row.sources, [wanted])


def _seeds_for(images: MethodImages, count: int) -> list[int]:
    """Return planned images whose seeds are taken: the one itself, then others of its class."""
    label = int(images.inputs.plan.labels[images.index])
    others = [other for other in images.planned_of_class(label, count) if other != images.index]
    return [images.index, *others][:count]


def _title(images: MethodImages, what: str) -> str:
    return f"{images.recipe.name} {images.recipe.version}: {what}"


def _of(images: MethodImages) -> str:
    """Return whose real images a picture has, and of which class."""
    plan, listing = images.inputs.plan, images.inputs.real.listing
    name = drawable(listing.classes[plan.labels[images.index]], 30)
    return f"of image {images.index} of the release ({name})"


def _formula(images: MethodImages, how: Conditioning) -> str:
    formula = METHODS[how.method].formula_for(images.embedding_shape).split(":")[0]
    return formula if how.strength is None else f"{formula}, {told_amount(how.strength)}"


def _dropped(how: Conditioning) -> str:
    if how.dropout == 0:
        return "the embedding as it is"
    return "the class name alone" if how.dropout == 1 else f"{how.dropout:.0%} of {how.drops} dropped"


def _kind(how: Conditioning) -> str:
    return "the class name alone" if how.method == TEXT_ONLY else how.method


def draw(sketch: Sketch, made: Mapping[Wanted, Image.Image], images: MethodImages) -> bytes:
    """Draw a picture whose images are made; return it as a PNG file."""
    widths = [max(len(row.strips[place]) for row in sketch.rows) for place in range(len(sketch.heads))]
    steps = [width * (_TILE + _GAP) + _APART for width in widths]
    first = _LEFT if any(row.sources for row in sketch.rows) else _NARROW
    lefts = [first + sum(steps[:place]) for place in range(len(steps))]
    size = (max(first + sum(steps), _WIDTH), _TOP + len(sketch.rows) * _ROW)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 12), sketch.title, fill=INK, font=font(22))
    for number, line in enumerate(sketch.about):
        pen.text((_MARGIN, 42 + number * 18), line, fill=SOFT, font=font(13))
    for left, heads in zip(lefts, sketch.heads, strict=True):
        for column, head in enumerate(heads):
            pen.text((left + column * (_TILE + _GAP), _TOP - 20), head, fill=INK, font=font(13))
    for number, row in enumerate(sketch.rows):
        _draw_row(sheet, row, _TOP + number * _ROW, lefts, made, images)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_row(
    sheet: Image.Image,
    row: Row,
    top: int,
    lefts: Sequence[int],
    made: Mapping[Wanted, Image.Image],
    images: MethodImages,
) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, top + 16), drawable(row.name, 24), fill=INK, font=font(15))
    pen.text((_MARGIN, top + 38), row.note, fill=SOFT, font=font(12))
    for place, source in enumerate(row.sources):
        at = (_LEFT - _APART - _SMALL, top + place * (_SMALL + _GAP))
        _paste(sheet, images.real(source), at, _SMALL, (FIRST, SECOND)[place])
    for left, strip in zip(lefts, row.strips, strict=True):
        for column, tile in enumerate(strip):
            at = (left + column * (_TILE + _GAP), top)
            if isinstance(tile, Wanted):
                _paste(sheet, made[tile], at, _TILE, SYNTHETIC)
            else:
                _paste(sheet, images.real(tile), at, _TILE, FIRST)


def _paste(
    sheet: Image.Image, image: Image.Image, at: tuple[int, int], edge: int, frame: tuple[int, int, int]
) -> None:
    x, y = at
    sheet.paste(fit(image, edge), at)
    ImageDraw.Draw(sheet).rectangle((x - 1, y - 1, x + edge, y + edge), outline=frame, width=1)
