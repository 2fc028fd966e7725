"""The command line: parse, call, print."""

from __future__ import annotations

from typing import Annotated

import typer

from synthkit.cli import comparing, publishing, recipes, releases, scoring, starting
from synthkit.cli.shared import app
from synthkit.version import __version__

__all__ = ["app", "comparing", "publishing", "recipes", "releases", "scoring", "starting"]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"synthkit {__version__}")
        raise typer.Exit
