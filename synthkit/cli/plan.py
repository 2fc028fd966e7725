"""`synthkit plan`: how many images a build would make of each class."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.shared import (
    OutOption,
    RecipeArgument,
    SetOption,
    app,
    load_recipe,
    print_table,
    user_errors,
)
from synthkit.system.names import printable


@app.command(
    rich_help_panel=MAKE, epilog="Examples: `synthkit plan my.yaml` · `synthkit plan my.yaml --json`"
)
def plan(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show how many images a build would make of each class, its size and its time; load no model."""
    with user_errors():
        from synthkit.builder.plan_report import as_table, summarise
        from synthkit.system.work_root import work_root

        summary = summarise(load_recipe(recipe, override), work_root(out))
        if as_json:
            print(json.dumps(summary.to_json(), indent=2))
        else:
            print_table(as_table(summary))
            # Printed below the table, whose columns would wrap them.
            for note in summary.notes:
                print(printable(f"Note: {note}"))
