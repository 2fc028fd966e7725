"""`synthkit grow`: change a recipe so that its release gets more images, and keeps those it has."""

from __future__ import annotations

from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.shared import EarlierOption, RecipeArgument, app, user_errors
from synthkit.system.names import printable


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit grow my.yaml --target 150`, then `synthkit build my.yaml` · "
    "`synthkit grow my.yaml` (after classes were added)",
)
def grow(
    recipe: RecipeArgument,
    target: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="The new target_per_class (or synthetic_per_class). Default: the recipe's.",
            show_default=False,
        ),
    ] = None,
    earlier: EarlierOption = None,
    version: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="The new version. Default: the next minor one.", show_default=False
        ),
    ] = None,
) -> None:
    """Change a recipe so that the next build adds images to a release and keeps those it has.

    It writes what the release asked for into the recipe (`grown`), with the new target and version; comments
    stay. The next `synthkit build` takes the earlier images as they are, and makes the new ones.
    """
    with user_errors():
        from synthkit.builder.grow_recipe import grow_recipe
        from synthkit.builder.options import RELEASES
        from synthkit.recipe.load import load

        release = earlier or RELEASES / load(recipe).name
        grown = grow_recipe(recipe, release, target, version)
        names = ", ".join(grown.added_classes[:5]) + (" …" if len(grown.added_classes) > 5 else "")
        added = f"; {len(grown.added_classes):,} new classes: {names}" if names else ""
        print(
            printable(
                f"{recipe}: {grown.name} grows from {grown.before} to {grown.version}: {grown.new:,} new "
                f"images behind the {grown.kept:,} it has{added}"
            )
        )
        command = f"synthkit build {recipe}" + (f" --earlier {earlier}" if earlier else "")
        print(f"Make them with: {command}")
