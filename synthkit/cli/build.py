"""`synthkit build`: make a release, a preview of it, or one of its parts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.builder.engines import ENGINES
from synthkit.builder.options import MOST_WORKERS
from synthkit.cli import completion
from synthkit.cli.help import MAKE
from synthkit.cli.shared import (
    DeviceOption,
    EarlierOption,
    RecipeArgument,
    SetOption,
    TokensOption,
    app,
    load_recipe,
    print_outcome,
    user_errors,
)
from synthkit.errors import BuildError

if TYPE_CHECKING:
    from synthkit.builder.outcome import Delivered


@app.command(
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit build my.yaml` · `synthkit build my.yaml --limit 64` (a preview) · "
    "`synthkit build my.yaml --set sampler.guidance_scale=2.0 --out /data/releases` · "
    "`synthkit build my.yaml --shards 3/16` (a part, for `synthkit merge`) · "
    "`synthkit build my.yaml --engine ray`",
)
def build(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Put the release in DIR/NAME and the work in DIR/.synthkit. Default: releases and "
            ".synthkit. With --engine ray also an address (s3://…) for finished shards, which `synthkit "
            "merge` reads.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Make a preview of the first N images, in NAME-preview.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Number of processes that share the work. auto: one for each GPU; on a CPU one for each "
            "core if the model is small.",
        ),
    ] = "auto",
    shards: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Make only the I-th of N parts; `synthkit merge` makes the release from all of them.",
            show_default=False,
        ),
    ] = "",
    worker_timeout: Annotated[
        float,
        typer.Option(
            min=1.0,
            metavar="SECONDS",
            help="End and replace a worker that shows no sign of life for this long.",
        ),
    ] = 900.0,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help=" ".join(f"{name}: {entry.where}." for name, entry in ENGINES.items()),
            autocompletion=completion.one_of(*ENGINES),
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the Ray cluster. Default: the cluster that this machine belongs to.",
            show_default=False,
        ),
    ] = None,
    earlier: EarlierOption = None,
    tokens: TokensOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete finished work and make everything again.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that this recipe did not make.")
    ] = False,
) -> None:
    """Make a release from a recipe.

    Stop it at any time (Ctrl-C): the same command goes on from the last finished shard. If the
    release is complete and nothing changed, the command does nothing.
    """
    with user_errors():
        from synthkit.builder.make import deliver, make_release
        from synthkit.builder.options import WHOLE, Options, parse_part
        from synthkit.builder.remote_shards import is_url

        if shards and limit is not None:
            raise BuildError("--limit and --shards: give one of them; a preview is not made in parts")
        options = Options(
            out=Path(out) if out and not is_url(out) else None,
            device=device,
            limit=limit,
            part=parse_part(shards) if shards else WHOLE,
            workers=_workers(workers),
            timeout=worker_timeout,
            engine=engine,
            address=address,
            fresh=fresh,
            overwrite=overwrite,
            earlier=earlier,
            tokens=tokens,
        )
        started, loaded = time.monotonic(), load_recipe(recipe, override)
        if out and is_url(out):
            delivered = deliver(loaded, out, options)
            _print_delivered(delivered, time.monotonic() - started, _merge_command(recipe, override, out))
        else:
            outcome = make_release(loaded, options)
            print_outcome(outcome, time.monotonic() - started, _merge_command(recipe, override, out))


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise BuildError(f"--workers {text}: must be auto, or a number from 1 to {MOST_WORKERS}")
    return int(text)


def _merge_command(recipe: Path, override: list[str] | None, place: str | None) -> str:
    """Return the `synthkit merge` command that makes the release from this recipe's parts."""
    import shlex

    changes = [word for change in override or () for word in ("--set", change)]
    words = ["synthkit", "merge", str(recipe), *changes, *([place] if place else [])]
    return shlex.join(words)


def _print_delivered(outcome: Delivered, seconds: float, merge_command: str) -> None:
    from synthkit.system.progress import duration

    print(
        f"{outcome.url}: {outcome.shards} of {len(outcome.inputs.plan.newest)} shards are there, "
        f"{outcome.made.images:,} images made now in {duration(seconds)}"
    )
    print(f"Complete the release with: {merge_command}")
