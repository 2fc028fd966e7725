"""Commands that start from a recipe: build, merge, plan, digest, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthkit.cli import completion
from synthkit.cli.shared import (
    DeviceOption,
    OutOption,
    RecipeArgument,
    ReportOption,
    SetOption,
    app,
    print_table,
    user_errors,
    write_report,
)
from synthkit.errors import BuildError
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.builder.outcome import Delivered, Outcome
    from synthkit.recipe.schema import Recipe

_MOST_WORKERS = 1024


@app.command(
    epilog="Examples: `synthkit build my.yaml` · `synthkit build my.yaml --limit 64` (a preview) · "
    "`synthkit build my.yaml --set sampler.guidance_scale=2.0 --out /data/releases` · "
    "`synthkit build my.yaml --shards 3/16` (a part, for `synthkit merge`) · "
    "`synthkit build my.yaml --engine ray`"
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
            ".synthkit. With --engine ray an address too (s3://…), for `synthkit merge`.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="A preview of the first N images, in NAME-preview.", show_default=False
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Processes that share the work. auto: one for each GPU; on a CPU one for each core if the "
            "model is small.",
        ),
    ] = "auto",
    shards: Annotated[
        str,
        typer.Option(
            metavar="I/N",
            help="Make only the I-th of N parts; `synthkit merge` completes what several machines made.",
            show_default=False,
        ),
    ] = "",
    worker_timeout: Annotated[
        float,
        typer.Option(
            min=1.0, metavar="SECONDS", help="Give up a worker that shows no sign of life for so long."
        ),
    ] = 900.0,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="local: this machine. ray: the nodes of a Ray cluster.",
            autocompletion=completion.one_of(*completion.ENGINES),
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The Ray cluster. Default: the one of this machine.", show_default=False
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make everything again; drop finished work.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that this recipe did not make.")
    ] = False,
) -> None:
    """Make a release from a recipe.

    Stop it at any time (Ctrl-C): the same command goes on from the last finished shard. If the
    release is there already and nothing changed, nothing is done.
    """
    with user_errors():
        from synthkit.builder.make import make_release
        from synthkit.builder.options import WHOLE, Options, parse_part
        from synthkit.builder.remote_shards import is_url

        if shards and limit is not None:
            raise BuildError("--limit and --shards: give one of them; a preview is small")
        options = Options(
            out=Path(out) if out and not is_url(out) else None,
            device=device,
            limit=limit,
            part=parse_part(shards) if shards else WHOLE,
            workers=_workers(workers),
            timeout=worker_timeout,
            engine=_engine(engine, address),
            address=address,
            fresh=fresh,
            overwrite=overwrite,
        )
        if out and is_url(out):
            from synthkit.builder.deliver import deliver

            _print_delivered(deliver(_load(recipe, override), out, options), _merge(recipe, override, out))
        else:
            _print_outcome(make_release(_load(recipe, override), options), _merge(recipe, override, out))


@app.command(
    epilog="Examples: `synthkit merge my.yaml` (parts built on one file system) · "
    "`synthkit merge my.yaml node1/out node2/out`"
)
def merge(
    recipe: RecipeArgument,
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of finished shards: what `build --shards` was given as --out, or its work folder; "
            "or an address (s3://…) that `build --engine ray` was given.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
    out: OutOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that this recipe did not make.")
    ] = False,
) -> None:
    """Complete a release from the parts that `build --shards` made, here or on other machines.

    Nothing is generated. It stops if a shard is missing or damaged, was made from another recipe or in
    another environment, or is there twice with different content.
    """
    with user_errors():
        from synthkit.builder.merge import merge as collect
        from synthkit.builder.options import Options

        options = Options(out=out, overwrite=overwrite)
        _print_outcome(collect(_load(recipe, override), folders or [], options))


@app.command(epilog="Examples: `synthkit plan my.yaml` · `synthkit plan my.yaml --json`")
def plan(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what a build would make, per class, without loading the model."""
    with user_errors():
        from synthkit.builder.plan_report import as_table, summarise
        from synthkit.system.work_root import work_root

        summary = summarise(_load(recipe, override), work_root(out))
        if as_json:
            print(json.dumps(summary.to_json(), indent=2))
        else:
            print_table(as_table(summary))
            # Not in the table, which would fold them.
            for note in summary.notes:
                print(printable(f"Note: {note}"))


@app.command(epilog="Example: `synthkit digest my.yaml`")
def digest(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    report: ReportOption = None,
) -> None:
    """Print what decides every byte of a release, as JSON: the recipe, the real images and the model.

    The same output means the same release (on the same platform). Reads the real images, makes nothing.
    """
    with user_errors():
        from synthkit.builder.inputs import identify
        from synthkit.system.work_root import work_root

        write_report(identify(_load(recipe, override), work_root(out)).to_json(), report)


@app.command(epilog="Examples: `synthkit doctor` · `synthkit doctor my.yaml`")
def doctor(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE",
            help="A recipe to examine as well.",
            show_default=False,
            autocompletion=completion.recipes,
        ),
    ] = None,
    override: SetOption = None,
    out: OutOption = None,
) -> None:
    """Show what this machine offers a build, and what would stop one.

    With a recipe: whether its real images are there and can be read, whether its model is here or how
    large its download is, and where to get what is missing.
    """
    with user_errors():
        from synthkit.builder.options import RELEASES
        from synthkit.inspection.doctor import examine
        from synthkit.inspection.doctor_recipe import examine_recipe
        from synthkit.system.work_root import work_root

        checks = list(examine(out or RELEASES))
        if recipe is not None:
            checks += examine_recipe(_load(recipe, override), out or RELEASES, work_root(out))
        width = max(len(check.what) for check in checks)
        marks = {"ok": "  ", "note": "! ", "stop": "x "}
        for check in checks:
            print(printable(f"{marks[check.verdict]}{check.what:<{width}}  {check.found}"))
        if any(check.verdict == "stop" for check in checks):
            print("A build would stop: see the lines marked x.", file=sys.stderr)
            raise typer.Exit(1)


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise BuildError(f"--workers {text}: must be auto, or a number from 1 to {_MOST_WORKERS}")
    return int(text)


def _engine(text: str, address: str | None) -> Literal["local", "ray"]:
    if text not in ("local", "ray"):
        raise BuildError(f"--engine {text}: there is no such engine; there are local and ray")
    if address is not None and text != "ray":
        raise BuildError(f"--address {address}: is that of a Ray cluster; give --engine ray with it")
    if text == "local":
        return "local"
    from synthkit.builder.engines.ray_cluster import check

    check(address)
    return "ray"


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    from synthkit.recipe.load import load

    return load(path, overrides or ())


def _merge(recipe: Path, override: list[str] | None, place: str | None) -> str:
    """The command that completes a release, with all that makes it the same."""
    import shlex

    changes = [word for change in override or () for word in ("--set", change)]
    words = ["synthkit", "merge", str(recipe), *changes, *([place] if place else [])]
    return shlex.join(words)


def _print_outcome(outcome: Outcome, merge_command: str = "") -> None:
    from synthkit.builder.options import WHOLE
    from synthkit.system.progress import duration

    facts, images = outcome.facts, len(outcome.facts.plan)
    if outcome.part != WHOLE and outcome.generated is not None:
        made = outcome.generated.images
        numbers = outcome.part.shards(facts.plan.shards)
        print(
            f"{outcome.release}: part {outcome.part} is finished, {len(numbers)} of {facts.plan.shards} "
            f"shards, {made:,} images made now in {duration(outcome.seconds)}"
        )
        print(f"When all parts are: {merge_command} (and the folders of other parts)")
        return
    if outcome.generated is None:
        print(f"{outcome.release}: up to date, {images:,} images; nothing to do")
        return
    made = outcome.generated.images
    rate = f", generating at {outcome.generated.rate:.1f} images/s" if made else ""
    print(
        f"{outcome.release}: {images:,} images in {facts.plan.shards} shard(s), "
        f"{made:,} of them made now; {duration(outcome.seconds)} in all{rate}"
    )
    if facts.preview:
        print(
            f"This is a preview: {images:,} of {facts.planned:,} images; a release is built without --limit."
        )
    print(f"Look at {outcome.release / 'samples.png'}; check it with: synthkit verify {outcome.release}")


def _print_delivered(outcome: Delivered, merge_command: str) -> None:
    from synthkit.system.progress import duration

    print(
        f"{outcome.url}: {outcome.shards} of {outcome.facts.plan.shards} shards are there, "
        f"{outcome.generated.images:,} images made now in {duration(outcome.seconds)}"
    )
    print(f"Complete the release with: {merge_command}")
