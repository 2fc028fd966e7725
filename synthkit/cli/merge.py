"""`synthkit merge`: make one release from parts that were built separately."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.shared import (
    EarlierOption,
    OutOption,
    RecipeArgument,
    SetOption,
    TokensOption,
    app,
    load_recipe,
    print_outcome,
    user_errors,
)


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit merge my.yaml` (parts built on one file system) · "
    "`synthkit merge my.yaml node1/out node2/out`",
)
def merge(
    recipe: RecipeArgument,
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Where finished shards are: the --out folder or the work folder of a `build --shards`, "
            "or the "
            "address (s3://…) of a `build --engine ray`.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
    out: OutOption = None,
    earlier: EarlierOption = None,
    tokens: TokensOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that this recipe did not make.")
    ] = False,
) -> None:
    """Make a release from the parts that `build --shards` made, here or on other machines.

    It generates no image. It stops if a shard is missing or damaged, was made from another recipe or in
    another environment, or exists twice with different content.
    """
    with user_errors():
        from synthkit.builder.merge import merge as collect
        from synthkit.builder.options import Options

        options = Options(out=out, overwrite=overwrite, earlier=earlier, tokens=tokens)
        started, loaded = time.monotonic(), load_recipe(recipe, override)
        print_outcome(collect(loaded, folders or [], options), time.monotonic() - started)
