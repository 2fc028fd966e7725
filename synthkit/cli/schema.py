"""`synthkit schema`: JSON Schemas of recipes, provenance records and scores."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkit.cli import completion
from synthkit.cli.help import TOOLS
from synthkit.cli.shared import app, user_errors
from synthkit.errors import RecipeError
from synthkit.version import LATER_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable


@app.command(
    rich_help_panel=TOOLS, epilog="Examples: `synthkit schema > recipe.schema.json` · `synthkit schema score`"
)
def schema(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="recipe, provenance, provenance-3 to -8 (records of these formats) or score.",
            autocompletion=completion.one_of(*completion.SCHEMAS),
        ),
    ] = "recipe",
) -> None:
    """Print the JSON Schema of recipes (for editors), of provenance records, or of scores."""
    with user_errors():
        from synthkit.recipe.json_schema import json_schema
        from synthkit.release.records import record_schema
        from synthkit_eval.score import json_schema as score_schema

        schemas: dict[str, Callable[[], Any]] = {
            "recipe": json_schema,
            "provenance": record_schema,
            **{f"provenance-{form}": partial(record_schema, form) for form in LATER_FORMATS},
            "score": score_schema,
        }
        if what not in schemas:
            raise RecipeError(f"{what}: there is no such schema; there are {', '.join(schemas)}")
        print(json.dumps(schemas[what](), indent=2))
