"""`synthkit diff`: what changed between two releases."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.shared import ReleaseArgument, app, user_errors
from synthkit.system.names import printable


@app.command(
    rich_help_panel=TRUST,
    epilog="Example: `synthkit diff releases/digits-lt-augcond old/digits-lt-augcond --json`",
)
def diff(
    old: ReleaseArgument,
    new: ReleaseArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show what changed between two releases: recipe, versions, counts, images."""
    with user_errors():
        from synthkit.publish.pull import find_release
        from synthkit.release.diff import as_text, difference
        from synthkit.release.files import RECIPE, RECORDS
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.recipe_file import read_recipe

        one, other = (find_release(reference, [RECIPE, RECORDS]) for reference in (old, new))
        with ReleaseFolder.at(one).opened() as before, ReleaseFolder.at(other).opened() as after:
            found = difference((one, before, read_recipe(one)), (other, after, read_recipe(other)))
        print(json.dumps(found.to_json(), indent=2) if as_json else printable(as_text(found)))
