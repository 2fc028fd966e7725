"""A table of text, and a page of tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NONE = "–"

Align = Literal["left", "right"]
# What a comparison is written as; `terminal` is plain text.
Format = Literal["terminal", "markdown", "csv"]


@dataclass(frozen=True, slots=True)
class Link:
    """A text in a cell that leads to an address, which must be one that no stranger chose."""

    text: str
    address: str


Cell = str | Link
Cells = tuple[Cell, ...]


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
    """A section as it is shown: title, tables, conclusions, notes; the last one also how to read all."""

    title: str
    tables: tuple[Table, ...]
    conclusions: tuple[str, ...]
    notes: tuple[str, ...]
    legend: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands below the tables, in its order."""
        return (*self.conclusions, *self.notes, *self.legend)
