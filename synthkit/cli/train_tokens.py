"""`synthkit train-tokens`: learn a token of each class from its real images."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 (typer reads the annotation)
from typing import Annotated

import typer

from synthkit.cli.help import MAKE
from synthkit.cli.shared import (
    DeviceOption,
    OutOption,
    RecipeArgument,
    SetOption,
    app,
    load_recipe,
    user_errors,
)
from synthkit.system.names import printable


@app.command(
    "train-tokens",
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit train-tokens my.yaml` · `synthkit train-tokens my.yaml --device cuda:1` "
    "(beside another one on cuda:0) · `synthkit train-tokens my.yaml --to tokens.safetensors`",
)
def train_tokens(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="Also write all of them to one safetensors file, for `synthkit build --tokens` elsewhere.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Learn all of them anew.")] = False,
) -> None:
    """Learn a token of each class from its real images alone (textual inversion).

    For recipes whose `conditioning.method` is fill-up or da-fusion; `synthkit build` does the same first.
    Stop it at any time (Ctrl-C): the same command goes on with the class that it was at.
    """
    with user_errors():
        from synthkit.builder.options import Options
        from synthkit.builder.tokens import train
        from synthkit.system.progress import duration

        started, loaded = time.monotonic(), load_recipe(recipe, override)
        trained = train(loaded, Options(out=out, device=device, fresh=fresh), to)
        vectors = loaded.tokens.vectors if loaded.tokens else 0
        print(
            f"{trained.place}: tokens of {trained.classes:,} classes, {vectors} vector(s) each, "
            f"{trained.learned:,} of them learned now in {duration(time.monotonic() - started)}"
        )
        if to is not None:
            print(printable(f"{to}: all of them, for synthkit build --tokens"))
