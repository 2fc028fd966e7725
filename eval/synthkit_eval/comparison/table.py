"""A table of text, and a page of tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NONE = "–"

Align = Literal["left", "right"]
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column, and the side to which its cells are aligned."""

    head: str
    align: Align = "right"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under heads; a line is drawn above the rows numbered in `rules`."""

    columns: tuple[Column, ...]
    rows: tuple[Cells, ...]
    rules: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A section as it is shown: title, tables, notes."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
