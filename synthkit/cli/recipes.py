"""`synthkit recipes`: the list of recipes that come with synthkit."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.output import print_json
from synthkit.cli.shared import app, print_table, user_errors


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit recipes` · `synthkit init digits-demo --from digits_lt_ecd`",
)
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the recipes that come with synthkit: what each makes, and what it needs."""
    with user_errors():
        from synthkit.recipe.catalogue import as_table, describe_all

        found = describe_all()
        if as_json:
            print_json(json.dumps([item.to_json() for item in found], indent=2, ensure_ascii=False))
            return
        print_table(as_table(found))
        print("\nTo get one: synthkit init NAME --from RECIPE, for example")
        print("  synthkit init digits-demo --from digits_lt_ecd")
