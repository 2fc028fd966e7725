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
    from synthkit_eval.compare import Compared

# As in synthkit_eval, which help and completion do not load.
Format = Literal["terminal", "markdown", "csv"]


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
        from synthkit_eval.compare import compare_files, form_of

        form = form or ("terminal" if out is None else form_of(out))
        compared = compare_files(scores, contrasts=contrasts, verify=verify, strict=strict, again=again)
        if out is None:
            _print(compared, form)
        else:
            compared.write(out, form)
            count = len(compared.found.files)
            print(printable(f"{out}: {count} score(s) in {len(compared.sections)} section(s)"))
        if plots is not None:
            drawn = compared.draw(plots)
            _tell([f"{plots}: drew {', '.join(drawn.names)} (PNG and SVG)"] if drawn.names else [])
            _tell(drawn.left_out)
        _tell(compared.found.skipped)


def _print(compared: Compared, form: Format) -> None:
    if form == "terminal" and sys.stdout.isatty():
        from rich.console import Console

        from synthkit_eval.comparison.rendering import as_rich

        console = Console(highlight=False)
        console.print(as_rich(compared.pages(), console.width))
    else:
        print(printable(compared.text(form)), end="")


def _tell(lines: list[str]) -> None:
    # On stderr: stdout may be piped to another program that reads the table.
    for line in lines:
        print(printable(line), file=sys.stderr)
