"""`synthkit doctor`: whether a build would work on this machine."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import MAKE
from synthkit.cli.shared import OutOption, SetOption, app, load_recipe, user_errors
from synthkit.system.names import printable


@app.command(rich_help_panel=MAKE, epilog="Examples: `synthkit doctor` · `synthkit doctor my.yaml`")
def doctor(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe to check as well.",
            show_default=False,
            autocompletion=completion.recipes,
        ),
    ] = None,
    override: SetOption = None,
    out: OutOption = None,
) -> None:
    """Check whether a build would work on this machine, and say what is missing.

    With a recipe, it checks that the real images exist and can be read and that the model is here, and
    says how large a download would be and where to get what is missing.
    """
    with user_errors():
        from synthkit.builder.options import RELEASES
        from synthkit.inspection.doctor import examine
        from synthkit.inspection.doctor_recipe import examine_recipe
        from synthkit.system.work_root import work_root

        checks = list(examine(out or RELEASES))
        if recipe is not None:
            checks += examine_recipe(load_recipe(recipe, override), out or RELEASES, work_root(out))
        width = max(len(check.what) for check in checks)
        marks = {"ok": "  ", "note": "! ", "stop": "x "}
        for check in checks:
            print(printable(f"{marks[check.verdict]}{check.what:<{width}}  {check.found}"))
        if any(check.verdict == "stop" for check in checks):
            print("A build would stop: see the lines marked x.", file=sys.stderr)
            raise typer.Exit(1)
