"""Compare scores as a user asks for it: find them, put them side by side, show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.errors import ScoreError
from synthkit.system.names import printable
from synthkit_eval.comparison.differences import Section, compare_scores
from synthkit_eval.comparison.find import Found, find_scores
from synthkit_eval.comparison.published import load_tables
from synthkit_eval.leaderboard.board import Board, read_board
from synthkit_eval.leaderboard.files import is_address
from synthkit_eval.study.file import load_study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from synthkit_eval.comparison.plots import Drawn
    from synthkit_eval.comparison.published import PublishedTable
    from synthkit_eval.comparison.table import Format, Page

_BY_SUFFIX: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".txt": "terminal"}


@dataclass(frozen=True, slots=True, repr=False)
class Compared:
    """Scores side by side: `sections` of those that compare, and the published `tables` they stand beside.

    `found` has the scores, and a line for each that was passed over. Printed, it is what `synthkit compare`
    shows.
    """

    found: Found | Board
    sections: tuple[Section, ...]
    tables: list[PublishedTable]

    def pages(self) -> list[Page]:
        """Return what is shown: for each section a title, tables and notes."""
        from synthkit_eval.comparison.pages import pages
        from synthkit_eval.leaderboard.page import board_pages

        return (
            board_pages(self.sections, self.found) if isinstance(self.found, Board) else pages(self.sections)
        )

    def text(self, form: Format) -> str:
        """Return the comparison as text, Markdown or CSV."""
        from synthkit_eval.comparison.rendering import as_markdown, as_text
        from synthkit_eval.comparison.spreadsheet import as_csv

        if form == "csv":
            return as_csv(self.sections)
        return as_markdown(self.pages()) if form == "markdown" else as_text(self.pages())

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each score and published number: accuracies in percent, differences in points."""
        import io

        import pandas as pd

        return pd.read_csv(io.StringIO(self.text("csv")))

    def __repr__(self) -> str:
        return f"<comparison of {len(self.found.files)} score(s) in {len(self.sections)} section(s)>"

    def __str__(self) -> str:
        return printable(self.text("terminal")).rstrip("\n")

    def write(self, file: Path, form: Format | None = None) -> None:
        """Write the comparison, whole or not at all. Raises ScoreError if the ending tells no form."""
        from synthkit.system.files import make_folder, write_file

        text = self.text(form or form_of(file))
        make_folder(file.parent)
        write_file(file, text.encode())

    def draw(self, folder: Path) -> Drawn:
        """Draw the plots into a folder, as PNG and SVG."""
        from synthkit_eval.comparison.plots import draw_plots

        return draw_plots(self.sections, self.tables, folder)


def compare_files(
    scores: Sequence[str],
    *,
    contrasts: Path | None = None,
    verify: bool = False,
    strict: bool = False,
    again: Path | None = None,
) -> Compared:
    """Compare the scores that a user names, as `find_scores` finds them, or as a leaderboard's.

    `contrasts` is the file of a study. With `verify`, and always for a leaderboard on the Hub, each score is
    checked as a stranger's; `strict` and `again` are those of `read_board`. Raises ScoreError or HubError.
    """
    fixed = load_study(contrasts).contrasts if contrasts else []
    found = _find(scores, verify=verify, strict=strict, again=again)
    tables = load_tables()
    return Compared(found, tuple(_ordered(compare_scores(found.files, tables, fixed), found)), tables)


def form_of(file: Path) -> Format:
    """Return the form that the ending of a file's name tells. Raises ScoreError if it tells none."""
    if file.suffix.lower() not in _BY_SUFFIX:
        raise ScoreError(f"{file}: end its name in {', '.join(_BY_SUFFIX)}, or give --format")
    return _BY_SUFFIX[file.suffix.lower()]


def _find(scores: Sequence[str], *, verify: bool, strict: bool, again: Path | None) -> Found | Board:
    if verify or any(map(is_address, scores)):
        return read_board(scores, strict=strict, again=again)
    if strict or again is not None:
        raise ScoreError("--strict and --again: are about scores that are verified; add --verify")
    return find_scores(scores)


def _ordered(sections: list[Section], found: Found | Board) -> list[Section]:
    from synthkit_eval.leaderboard.page import best_first

    return best_first(sections) if isinstance(found, Board) else sections
