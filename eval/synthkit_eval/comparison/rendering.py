"""Write pages of tables as plain text, as Markdown, and for a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit.system.names import printable
from synthkit_eval.comparison.table import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Group
    from rich.table import Table as RichTable

    from synthkit_eval.comparison.table import Align, Cell, Page, Table

# Between columns.
_GAP = 2
# Characters that mean something in Markdown, or in HTML inside it.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def as_text(pages: Sequence[Page]) -> str:
    """Return plain text with aligned columns and no line breaks within rows."""
    return "\n\n".join(_page_text(page) for page in pages) + "\n"


def as_markdown(pages: Sequence[Page]) -> str:
    """Return Markdown as GitHub has it; special characters in names are escaped."""
    return "\n".join(_page_markdown(page) for page in pages)


def as_rich(pages: Sequence[Page], width: int) -> Group:
    """Return what a terminal shows; columns that do not fit its width stand below, with the names again."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Text | RichTable] = []
    for page in pages:
        parts.append(Text(_shown(page.title), style="bold"))
        for table in page.tables:
            for part in _parts(table, width):
                parts += [Text(""), _rich_table(part)]
        parts += [Text(""), *(Text(_shown(note), style="dim") for note in page.lines), Text("")]
    return Group(*parts[:-1])


def _page_text(page: Page) -> str:
    return "\n\n".join(
        [_shown(page.title), *map(_table_text, page.tables), "\n".join(map(_shown, page.lines))]
    )


def _table_text(table: Table) -> str:
    lines, widths = _lines(table), _widths(table)
    rule = ["-" * width for width in widths]
    shown = [lines[0], rule]
    for place, line in enumerate(lines[1:]):
        shown += [rule, line] if place in table.rules else [line]
    return "\n".join(_line(table, line, widths) for line in shown)


def _lines(table: Table) -> list[list[str]]:
    """Return the heads and all rows of cells, as they are shown."""
    heads = [column.head for column in table.columns]
    return [heads, *([_shown(_text_of(cell)) for cell in row] for row in table.rows)]


def _widths(table: Table) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*_lines(table), strict=True)]


def _line(table: Table, line: Sequence[str], widths: Sequence[int]) -> str:
    cells = zip(line, widths, table.columns, strict=True)
    return (" " * _GAP).join(_pad(cell, width, column.align) for cell, width, column in cells).rstrip()


def _pad(cell: str, width: int, align: Align) -> str:
    return cell.ljust(width) if align == "left" else cell.rjust(width)


def _page_markdown(page: Page) -> str:
    tables = "\n\n".join(map(_table_markdown, page.tables))
    notes = "\n".join(f"- {_escaped(note)}" for note in page.lines)
    return f"### {_escaped(page.title)}\n\n{tables}\n\n{notes}\n"


def _table_markdown(table: Table) -> str:
    head = " | ".join(column.head for column in table.columns)
    rule = " | ".join(":--" if column.align == "left" else "--:" for column in table.columns)
    rows = [" | ".join(map(_cell_markdown, row)) for row in table.rows]
    return "\n".join(f"| {line} |" for line in (head, rule, *rows))


def _parts(table: Table, width: int) -> Iterator[Table]:
    """Yield the table, or parts of its columns that fit into a width, each with the first column."""
    first, *others = _widths(table)
    start, used = 1, first
    for place, other in enumerate(others, 1):
        if place > start and used + _GAP + other >= width:
            yield _part(table, start, place)
            start, used = place, first
        used += _GAP + other
    yield _part(table, start, len(table.columns))


def _part(table: Table, start: int, stop: int) -> Table:
    rows = tuple((row[0], *row[start:stop]) for row in table.rows)
    return replace(table, columns=(table.columns[0], *table.columns[start:stop]), rows=rows)


def _rich_table(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    for place, column in enumerate(table.columns):
        shown.add_column(column.head, justify=column.align, no_wrap=place > 0, overflow="fold")
    for place, row in enumerate(table.rows):
        if place in table.rules:
            shown.add_section()
        shown.add_row(*(Text(_shown(_text_of(cell))) for cell in row))
    return shown


def _text_of(cell: Cell) -> str:
    return cell.text if isinstance(cell, Link) else cell


def _cell_markdown(cell: Cell) -> str:
    return f"[{_escaped(cell.text)}]({cell.address})" if isinstance(cell, Link) else _escaped(cell)


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", _shown(text))


def _shown(text: str) -> str:
    """Return a text on one line, without control characters that a terminal would obey."""
    return printable(text).replace("\n", "\\n")
