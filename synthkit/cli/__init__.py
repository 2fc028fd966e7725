"""The command line, one module per command: each reads its arguments, calls the package and prints."""

from __future__ import annotations

from typing import Annotated

import typer

# Importing a module registers its command; help lists them in this order, the order of the work.
# isort: off
from synthkit.cli import recipes, init, doctor, plan, methods, train_tokens, train_classifier  # noqa: F401
from synthkit.cli import build, grow, merge  # noqa: F401
from synthkit.cli import verify, show, page, replay, audit, diff  # noqa: F401
from synthkit.cli import release, sign, publish, pull, export, croissant  # noqa: F401
from synthkit.cli import eval, study, compare  # noqa: F401
from synthkit.cli import digest, schema  # noqa: F401

# isort: on
from synthkit.cli.shared import app
from synthkit.version import __version__

__all__ = ["app"]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"synthkit {__version__}")
        raise typer.Exit
