"""`synthkit init`: write a recipe to start from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import MAKE
from synthkit.cli.shared import SetOption, app, user_errors
from synthkit.errors import RecipeError

if TYPE_CHECKING:
    from synthkit.recipe.init import Begun


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit init digits-demo --from digits_lt_ecd` · `synthkit init my-flowers` (asks) · "
    "`synthkit init my-flowers --set source.root=data/flowers --set target_per_class=500`",
)
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name of the release; the recipe becomes NAME.yaml.", show_default=False
        ),
    ],
    override: SetOption = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Where the real images are: folder, listing, hub, coco, voc, flowers102 or digits.",
            show_default=False,
            autocompletion=completion.kinds,
        ),
    ] = "",
    original: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="RECIPE",
            help="Copy this recipe, one that `synthkit recipes` lists.",
            show_default=False,
            autocompletion=completion.shipped,
        ),
    ] = "",
) -> None:
    """Write a recipe: a template with your answers filled in, or a copy of one that comes with synthkit.

    On a terminal it asks for every answer that no option gives; elsewhere it keeps the template's
    values. It also writes recipe.schema.json, by which editors check and complete recipes.
    """
    with user_errors():
        from synthkit.recipe.init import check_name, copy_recipe, write_recipe

        path = Path(f"{name}.yaml")
        check_name(path, name)
        given = [f"name={name}", *(override or [])]
        if original and kind:
            raise RecipeError(f"--kind {kind} and --from {original}: give one of them")
        if original:
            begun = copy_recipe(path, original, given)
        else:
            begun = write_recipe(path, [given[0], *_answers(given[1:], kind)])
        _tell(path, begun)


def _answers(given: list[str], kind: str) -> list[str]:
    """Return FIELD=VALUE for all that `--set` and `--kind` give; on a terminal ask for the rest."""
    from synthkit.recipe.families import SOURCES
    from synthkit.recipe.init import questions

    answered = dict(item.partition("=")[::2] for item in given)
    if kind and answered.get("source.kind", kind) != kind:
        raise RecipeError(f"--kind {kind} and --set source.kind={answered['source.kind']}: give one of them")
    kind = kind or answered.get("source.kind", "")
    if "synthetic_per_class" in answered:
        answered["target_per_class"] = ""
    ask = sys.stdin.isatty()
    if ask and not kind:
        kind = typer.prompt(f"Where are the real images? ({', '.join(SOURCES)})", default="folder")
    kind = kind or "folder"
    asked = [
        f"{question.field}={typer.prompt(question.meaning, default=question.default)}"
        for question in (questions(kind) if ask else ())
        if question.field not in answered
    ]
    others = [item for item in given if not item.startswith("source.kind=")]
    return [f"source.kind={kind}", *asked, *others]


def _tell(path: Path, begun: Begun) -> None:
    from synthkit.recipe.init import SCHEMA

    print(f"{path}: written. Next:")
    # A preview saves time with large models; the built-in ones make a whole release in a minute.
    preview = "" if begun.recipe.model.id.startswith("builtin:") else " --limit 64"
    for command in (f"doctor {path}", f"plan {path}", f"build {path}{preview}"):
        print(f"  synthkit {command}")
    if not begun.checked:
        print(
            f"{SCHEMA}: holds something else and is kept. For an editor to check {path}, write the schema "
            f"to another file (synthkit schema > FILE) and name that file in {path}"
        )
