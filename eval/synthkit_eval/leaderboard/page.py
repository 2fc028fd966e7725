"""The page of a leaderboard: the sections of a comparison, best row first, with what was checked of each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit_eval.comparison.pages import pages
from synthkit_eval.comparison.table import NONE, Column, Link, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.table import Cell, Cells, Page
    from synthkit_eval.leaderboard.board import Board, Checked

_COLUMNS = (
    Column("name", "left"),
    Column("release", "left"),
    Column("commit", "left"),
    Column("checked", "left"),
    Column("trained again here", "left"),
    Column("handed in as", "left"),
)


def best_first(sections: Sequence[Section]) -> list[Section]:
    """Return sections with the most accurate row first, whatever it was trained on."""
    return [_best_first(section) for section in sections]


def _best_first(section: Section) -> Section:
    rows = sorted(section.rows, key=lambda row: -row.accuracy.overall.mean)
    standing = {id(row): place for place, row in enumerate(rows)}
    differences = sorted(section.differences, key=lambda one: standing[id(one.mine)])
    return replace(section, rows=tuple(rows), differences=tuple(differences))


def board_pages(sections: Sequence[Section], board: Board) -> list[Page]:
    """Return the page of each section with a table of what was checked; the last one says what that means."""
    made = [
        replace(page, tables=(*page.tables, _checked_table(section, board)))
        for page, section in zip(pages(sections), sections, strict=True)
    ]
    return [*made[:-1], replace(made[-1], legend=(*made[-1].legend, *_legend(board)))]


def _checked_table(section: Section, board: Board) -> Table:
    of_file = {(one.file.path, one.file.place): one for one in board.checked}
    # Several draws in one file are told once.
    rows = list(
        dict.fromkeys(
            _cells(row.name, of_file[file.path, file.place]) for row in section.rows for file in row.files
        )
    )
    if not any(one.again for one in board.checked):
        kept = [place for place, column in enumerate(_COLUMNS) if column.head != "trained again here"]
        return Table(
            tuple(_COLUMNS[place] for place in kept),
            tuple(tuple(row[place] for place in kept) for row in rows),
        )
    return Table(_COLUMNS, tuple(rows))


def _cells(name: str, one: Checked) -> Cells:
    release: Cell
    if one.release is None:
        release, commit, checked = NONE, NONE, "score"
    else:
        shown = Link(one.release.reference, one.release.address)
        release, commit, checked = shown, one.release.commit[:12], "score and release"
    return name, release, commit, checked, one.again or NONE, str(one.file.path)


def _legend(board: Board) -> Iterator[str]:
    yield f"Scores of {', '.join(place.said for place in board.places)}. Rows stand in the order of accuracy."
    yield (
        "Checked, score: it agrees with itself. Its protocol's settings give its digest, its predictions its "
        "accuracies and intervals, its epochs the one that counts. Predictions that were made up would, too."
    )
    if any(one.release for one in board.checked):
        yield (
            "Checked, score and release: the release was opened on the Hub as well, and is the one that the "
            "score names, by its seal, its recipe's digest, its real images and its classes. Its images were "
            "not fetched, and nothing was trained."
        )
    if any(one.again for one in board.checked):
        yield (
            "Trained again here: what the same training came to on this machine, as its difference in "
            "points from what was handed in, with its 95 % interval. Other machines round differently, so "
            "runs differ."
        )
    else:
        yield "No score was trained again here; `synthkit compare … --again scores` compares those that were."
