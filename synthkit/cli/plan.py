"""`synthkit plan`: how many images a build would make of each class."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from synthkit.builder.options import DEAREST
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
    download: Annotated[
        bool, typer.Option("--download", help="Ask the Hub how much of the model is to be downloaded.")
    ] = False,
    price: Annotated[
        float | None,
        typer.Option(min=0, max=DEAREST, help="Dollars for an hour of one device; a GPU has 3 by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show how many images a build would make of each class, its cost, and cheaper ways; load no model."""
    with user_errors():
        from synthkit.builder.plan_report import as_table, below_table, summarise
        from synthkit.system.work_root import work_root

        summary = summarise(load_recipe(recipe, override), work_root(out), price, ask_hub=download)
        if as_json:
            print(json.dumps(summary.to_json(), indent=2))
        else:
            print_table(as_table(summary))
            # Printed below the table, whose columns would wrap them.
            for line in below_table(summary):
                print(printable(line))
