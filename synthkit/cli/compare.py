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
            help="A score file, a folder of them, or the name of a release whose scores are in scores/.",
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
) -> None:
    """Put scores side by side: accuracies, FID, and differences from real images alone and from random-image.

    It adds the real-only scores that lie in the same folder, and published numbers of the same protocol.
    Scores of other protocols or of other images stand in tables of their own.
    """
    with user_errors():
        from synthkit_eval.comparison.differences import compare_scores
        from synthkit_eval.comparison.find import find_scores
        from synthkit_eval.comparison.published import load_tables
        from synthkit_eval.study.file import load_study

        form = form or _form_of(out)
        found = find_scores(scores)
        tables = load_tables()
        fixed = load_study(contrasts).contrasts if contrasts else []
        sections = compare_scores(found.files, tables, fixed)
        if out is None:
            _print(sections, form)
        else:
            _write(sections, form, out)
            print(printable(f"{out}: {len(found.files)} score(s) in {len(sections)} section(s)"))
        if plots is not None:
            from synthkit_eval.comparison.plots import draw_plots

            drawn = draw_plots(sections, tables, plots)
            _tell([f"{plots}: drew {', '.join(drawn.names)} (PNG and SVG)"] if drawn.names else [])
            _tell(drawn.left_out)
        _tell(found.skipped)


def _form_of(out: Path | None) -> Format:
    from synthkit.errors import ScoreError

    if out is None:
        return "terminal"
    if out.suffix.lower() not in _BY_SUFFIX:
        raise ScoreError(f"{out}: end its name in {', '.join(_BY_SUFFIX)}, or give --format")
    return _BY_SUFFIX[out.suffix.lower()]


def _print(sections: list[Section], form: Format) -> None:
    if form == "terminal" and sys.stdout.isatty():
        from rich.console import Console

        from synthkit_eval.comparison.pages import pages
        from synthkit_eval.comparison.rendering import as_rich

        console = Console(highlight=False)
        console.print(as_rich(pages(sections), console.width))
    else:
        print(printable(_text(sections, form)), end="")


def _write(sections: list[Section], form: Format, out: Path) -> None:
    from synthkit.system.files import make_folder, write_file

    make_folder(out.parent)
    write_file(out, _text(sections, form).encode())


def _text(sections: list[Section], form: Format) -> str:
    from synthkit_eval.comparison.pages import pages
    from synthkit_eval.comparison.rendering import as_markdown, as_text
    from synthkit_eval.comparison.spreadsheet import as_csv

    if form == "csv":
        return as_csv(sections)
    return as_markdown(pages(sections)) if form == "markdown" else as_text(pages(sections))


def _tell(lines: list[str]) -> None:
    # On stderr: stdout may be piped to another program that reads the table.
    for line in lines:
        print(printable(line), file=sys.stderr)
