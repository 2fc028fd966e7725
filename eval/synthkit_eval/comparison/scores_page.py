"""The page of scores: every section's conclusions, its plots with their numbers, and its tables."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from synthkit.page.rendering import render
from synthkit_eval.comparison.accuracy_table import fid_heads, fid_spaces
from synthkit_eval.comparison.pages import pages
from synthkit_eval.comparison.plot_detail import classes_figures, curves_of, epochs_figures, gains_of
from synthkit_eval.comparison.plot_style import styled
from synthkit_eval.comparison.plots import as_image, figures_of
from synthkit_eval.comparison.short_names import short_names
from synthkit_eval.comparison.table import NONE, Column, Link, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.figure import Figure

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.published import PublishedTable
    from synthkit_eval.comparison.table import Cell, Page

# Bytes that all pictures may take, so that a page stays below 15 MB.
_ROOM = 12_000_000
# Classes that have a column; of more, those that lost and gained most have a row.
_COLUMNS = 30
_MOST = 20
_SHOTS = "shots"


class Picture(NamedTuple):
    """A plot as a data URI: its title, what it shows in words, its size in pixels, and its numbers."""

    title: str
    alt: str
    uri: str
    width: int
    height: int
    numbers: tuple[Table, ...]


class SectionTold(NamedTuple):
    """A section of a page: sentences of what is shown and what is not, accuracies, pictures, and notes."""

    number: int
    title: str
    shown: list[str]
    hidden: list[str]
    accuracies: Table
    pictures: list[Picture]
    notes: list[str]


# What each kind of plot is called, and the columns of the table of accuracies that it draws.
_TITLES = {
    "groups": ("Accuracy", ()),
    "differences": ("Differences", ()),
    "classes": ("What each class gained", ()),
    "cost": ("Accuracy against cost", ("TFLOP", "overall")),
    "cost-diversity": ("Diversity against cost", ("TFLOP", "Vendi")),
    "diversity": ("Accuracy against diversity", ("Vendi", "overall")),
    "fid": ("Accuracy against FID", ("FID", "overall")),
    "guidance": ("Accuracy against guidance", ("guidance", "overall")),
    _SHOTS: ("Accuracy against the number of real images", ()),
    "epochs": ("Accuracy after each epoch", ()),
}


def scores_page(
    title: str, about: str, sections: Sequence[Section], tables: Sequence[PublishedTable]
) -> bytes:
    """Return the page of compared scores as the bytes of an HTML file; equal scores give equal bytes."""
    drawn, left_out = _drawn(sections, tables)
    told = pages(sections)
    shown = [
        _told(section, page, drawn.get(section.number, []))
        for section, page in zip(sections, told, strict=True)
    ]
    across = [_shots_picture(content, sections, told) for _, content in drawn.get(0, [])]
    return render(
        "scores.html.jinja",
        title=title,
        about=about,
        sections=shown,
        across=across,
        left_out=left_out,
        legend=told[-1].legend,
        scores=sum(len(row.files) for section in sections for row in section.rows),
        shown=sum(d.shown for section in sections for d in section.differences),
        tested=sum(len(section.differences) for section in sections),
        text_of=text_of,
    )


def _told(section: Section, page: Page, drawn: Sequence[tuple[str, _Drawing]]) -> SectionTold:
    hidden = [one for one in page.conclusions if one.startswith("Not shown")]
    return SectionTold(
        section.number,
        page.title,
        [one for one in page.conclusions if one not in hidden],
        hidden,
        page.tables[0],
        [_picture(kind, drawing, section, page) for kind, drawing in drawn],
        [*page.notes],
    )


def text_of(cell: Cell) -> str:
    """Return what stands in a cell."""
    return cell.text if isinstance(cell, Link) else cell


class _Drawing(NamedTuple):
    """An SVG file and its size in pixels."""

    svg: bytes
    width: int
    height: int


_Drawn = dict[int, list[tuple[str, _Drawing]]]


def _drawn(sections: Sequence[Section], tables: Sequence[PublishedTable]) -> tuple[_Drawn, int]:
    """Return the plots of each section (0: those that join sections), and how many found no room."""
    drawn: _Drawn = {}
    room, left_out = _ROOM, 0
    with styled():
        for kind, number, figure in _in_order(sections, tables):
            drawing = _drawing(figure)
            # Base64 writes three bytes as four letters.
            room -= len(drawing.svg) * 4 // 3
            if room < 0:
                left_out += 1
            else:
                drawn.setdefault(0 if kind == _SHOTS else number, []).append((kind, drawing))
    return drawn, left_out


def _in_order(
    sections: Sequence[Section], tables: Sequence[PublishedTable]
) -> Iterator[tuple[str, int, Figure]]:
    """Yield kind, section and figure, the kinds that matter most first: they get the room there is."""
    found = figures_of(sections, tables)
    found["classes"], found["epochs"] = classes_figures(sections), epochs_figures(sections)
    for kind in sorted(found, key=[_SHOTS, *_TITLES].index):
        for number, figure in found[kind]:
            yield kind, number, figure


def _drawing(figure: Figure) -> _Drawing:
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    # CSS has 96 pixels an inch.
    return _Drawing(as_image(figure, "svg"), round(96 * width), round(96 * height))


def _picture(kind: str, drawing: _Drawing, section: Section, page: Page) -> Picture:
    title, _ = _TITLES[kind]
    uri = "data:image/svg+xml;base64," + base64.b64encode(drawing.svg).decode()
    alt = f"{title}: {page.title}. The numbers stand in a table beside it."
    return Picture(title, alt, uri, drawing.width, drawing.height, tuple(_numbers(kind, section, page)))


def _shots_picture(drawing: _Drawing, sections: Sequence[Section], told: Sequence[Page]) -> Picture:
    rows = [
        (
            text_of(row[0]),
            f"{section.first.data.training_images:,}",
            *_cells(page.tables[0], row, ("overall",)),
        )
        for section, page in zip(sections, told, strict=True)
        for row in page.tables[0].rows
    ]
    numbers = Table((Column("name", "left"), Column("real images"), Column("overall")), tuple(rows))
    picture = _picture(_SHOTS, drawing, sections[0], told[0])
    title, _ = _TITLES[_SHOTS]
    return picture._replace(numbers=(numbers,), alt=f"{title}. The numbers stand in a table beside it.")


def _numbers(kind: str, section: Section, page: Page) -> Iterator[Table]:
    """Yield the tables of what a plot shows; that of accuracies stands above it."""
    _, heads = _TITLES[kind]
    if kind == "differences":
        yield from page.tables[1:]
    elif kind == "classes":
        yield _classes(section)
    elif kind == "epochs":
        yield _epochs(section)
    elif heads:
        accuracies = page.tables[0]
        if "FID" in heads:
            heads = (*fid_heads(fid_spaces(section)), "overall")
        columns = [accuracies.columns[0], *(one for one in accuracies.columns if one.head in heads)]
        rows = [(row[0], *_cells(accuracies, row, heads)) for row in accuracies.rows]
        yield Table(tuple(columns), tuple(rows))


def _cells(table: Table, row: Sequence[Cell], heads: Sequence[str]) -> list[str]:
    named = zip(table.columns, row, strict=True)
    return [text_of(cell) for column, cell in named if column.head in heads]


def _classes(section: Section) -> Table:
    """Return the points that each class gained: a column for each or, of many, rows of the extremes."""
    gains = gains_of(section)
    assert gains is not None  # noqa: S101 (its figure was drawn)
    names = [item.name for item in gains.classes]
    if len(names) <= _COLUMNS:
        columns = (Column("name", "left"), *(Column(name) for name in names))
        rows = [
            (name, *(f"{value:+.1f}" for value in row))
            for name, row in zip(gains.names, gains.points, strict=True)
        ]
        return Table(columns, tuple(rows))
    found: list[tuple[str, ...]] = []
    for name, row in zip(gains.names, gains.points, strict=True):
        order = row.argsort(kind="stable").tolist()
        for place in (*order[:_MOST], *order[-_MOST:]):
            real = f"{gains.classes[place].real:,}"
            found.append((name, names[place], real, f"{row[place]:+.1f}"))
    heads = (Column("name", "left"), Column("class", "left"), Column("real images"), Column("points"))
    return Table(heads, tuple(found))


def _epochs(section: Section) -> Table:
    curves = curves_of(section)
    longest = max(map(len, curves))
    columns = (Column("name", "left"), *(Column(str(epoch)) for epoch in range(1, longest + 1)))
    rows = [
        (name, *(f"{value:.1f}" for value in curve), *[NONE] * (longest - len(curve)))
        for name, curve in zip(short_names(section.rows), curves, strict=True)
    ]
    return Table(columns, tuple(rows))
