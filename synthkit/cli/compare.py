"""`synthkit compare`: scores side by side."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthkit.cli.help import SCORE
from synthkit.cli.shared import app, user_errors
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit_eval.comparison.differences import Section
    from synthkit_eval.comparison.find import Found
    from synthkit_eval.comparison.table import Page
    from synthkit_eval.leaderboard.board import Board

Format = Literal["terminal", "markdown", "csv"]
_BY_SUFFIX: dict[str, Format] = {".md": "markdown", ".csv": "csv", ".txt": "terminal"}


@app.command(
    rich_help_panel=SCORE,
    epilog="Examples: `synthkit compare scores` · `synthkit compare digits-lt-augcond digits-lt-mixup` · "
    "`synthkit compare scores --out docs/results.md --plots docs/images`",
)
def compare(
    scores: Annotated[
        list[str],
        typer.Argument(
            metavar="SCORE...",
            help="A score file, a folder of them, the name of a release whose scores are in scores/, or "
            "hf://datasets/organisation/name, a leaderboard on the Hub.",
            show_default=False,
        ),
    ],
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: terminal, or by the ending of --out.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table there: .md, .csv or .txt.", show_default=False),
    ] = None,
    contrasts: Annotated[
        Path | None,
        typer.Option(
            metavar="STUDY",
            help="Test the contrasts that this study's file fixed beforehand apart from all others.",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Draw groups, fid, diversity, guidance and shots there, as PNG and SVG.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Check each score as a stranger's, open the releases on the Hub that files are named by, "
            "and pass over what does not verify. Always so for a leaderboard on the Hub.",
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --verify: stop at the first score that does not verify.")
    ] = False,
    again: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --verify: say what the same training came to here, by the scores in this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Put scores side by side: accuracies, FID, and differences from real images alone and from random-image.

    It adds the real-only scores that lie in the same folder, and published numbers of the same protocol.
    Scores of other protocols or of other images stand in tables of their own. Of a leaderboard, the best row
    stands first, and a table says what was checked of each score.
    """
    with user_errors():
        from synthkit_eval.comparison.differences import compare_scores
        from synthkit_eval.comparison.published import load_tables
        from synthkit_eval.study.file import load_study

        form = form or _form_of(out)
        found = _find(scores, verify=verify, strict=strict, again=again)
        tables = load_tables()
        fixed = load_study(contrasts).contrasts if contrasts else []
        sections = _ordered(compare_scores(found.files, tables, fixed), found)
        if out is None:
            _print(sections, found, form)
        else:
            _write(sections, found, form, out)
            print(printable(f"{out}: {len(found.files)} score(s) in {len(sections)} section(s)"))
        if plots is not None:
            from synthkit_eval.comparison.plots import draw_plots

            drawn = draw_plots(sections, tables, plots)
            _tell([f"{plots}: drew {', '.join(drawn.names)} (PNG and SVG)"] if drawn.names else [])
            _tell(drawn.left_out)
        _tell(found.skipped)


def _find(scores: list[str], *, verify: bool, strict: bool, again: Path | None) -> Found | Board:
    from synthkit.errors import ScoreError
    from synthkit_eval.comparison.find import find_scores
    from synthkit_eval.leaderboard.board import read_board
    from synthkit_eval.leaderboard.files import is_address

    if verify or any(map(is_address, scores)):
        return read_board(scores, strict=strict, again=again)
    if strict or again is not None:
        raise ScoreError("--strict and --again: are about scores that are verified; add --verify")
    return find_scores(scores)


def _ordered(sections: list[Section], found: Found | Board) -> list[Section]:
    from synthkit_eval.leaderboard.board import Board
    from synthkit_eval.leaderboard.page import best_first

    return best_first(sections) if isinstance(found, Board) else sections


def _pages(sections: list[Section], found: Found | Board) -> list[Page]:
    from synthkit_eval.comparison.pages import pages
    from synthkit_eval.leaderboard.board import Board
    from synthkit_eval.leaderboard.page import board_pages

    return board_pages(sections, found) if isinstance(found, Board) else pages(sections)


def _form_of(out: Path | None) -> Format:
    from synthkit.errors import ScoreError

    if out is None:
        return "terminal"
    if out.suffix.lower() not in _BY_SUFFIX:
        raise ScoreError(f"{out}: end its name in {', '.join(_BY_SUFFIX)}, or give --format")
    return _BY_SUFFIX[out.suffix.lower()]


def _print(sections: list[Section], found: Found | Board, form: Format) -> None:
    if form == "terminal" and sys.stdout.isatty():
        from rich.console import Console

        from synthkit_eval.comparison.rendering import as_rich

        console = Console(highlight=False)
        console.print(as_rich(_pages(sections, found), console.width))
    else:
        print(printable(_text(sections, found, form)), end="")


def _write(sections: list[Section], found: Found | Board, form: Format, out: Path) -> None:
    from synthkit.system.files import make_folder, write_file

    make_folder(out.parent)
    write_file(out, _text(sections, found, form).encode())


def _text(sections: list[Section], found: Found | Board, form: Format) -> str:
    from synthkit_eval.comparison.rendering import as_markdown, as_text
    from synthkit_eval.comparison.spreadsheet import as_csv

    if form == "csv":
        return as_csv(sections)
    shown = _pages(sections, found)
    return as_markdown(shown) if form == "markdown" else as_text(shown)


def _tell(lines: list[str]) -> None:
    # On stderr: stdout may be piped to another program that reads the table.
    for line in lines:
        print(printable(line), file=sys.stderr)
