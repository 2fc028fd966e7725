"""The command line: parse, call, print. Errors become one line and exit code 1."""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit import __version__
from synthkit.errors import RecipeError, SynthkitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.make import Outcome
    from synthkit.recipe import Recipe
    from synthkit.replay import Replayed

app = typer.Typer(
    name="synthkit",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Turn a small, unbalanced set of real images into a synthetic training set in which every image "
    "can be traced and made again.",
    epilog="Start with: `synthkit build recipes/digits_lt_ecd.yaml`",
)

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Override a field, e.g. conditioning.method=dropout. Repeatable."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Put the release in DIR/NAME and the work in DIR/.synthkit. Default: releases and .synthkit.",
        show_default=False,
    ),
]
ReleaseArgument = Annotated[Path, typer.Argument(help="The release folder.", show_default=False)]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
DEBUG = "SYNTHKIT_DEBUG"


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        print(f"synthkit {__version__}")
        raise typer.Exit


@app.command(
    epilog="Examples: `synthkit build recipes/digits_lt_ecd.yaml` · "
    "`synthkit build my.yaml --limit 64` (a preview) · "
    "`synthkit build my.yaml --set sampler.guidance_scale=2.0 --out /data/releases`"
)
def build(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="A preview of the first N images, in NAME-preview.", show_default=False
        ),
    ] = None,
    device: DeviceOption = "auto",
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
    with _user_errors():
        from synthkit.make import Options, make_release

        options = Options(out=out, device=device, limit=limit, fresh=fresh, overwrite=overwrite)
        _print_outcome(make_release(_load(recipe, override), options))


@app.command(epilog="Examples: `synthkit plan recipes/digits_lt_ecd.yaml` · `synthkit plan my.yaml --json`")
def plan(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what a build would make, per class, without loading the model."""
    with _user_errors():
        from synthkit.make import work_root
        from synthkit.plan_report import as_table, summarise

        summary = summarise(_load(recipe, override), work_root(out))
        if as_json:
            print(json.dumps(summary.to_json(), indent=2))
        else:
            _print_table(as_table(summary))


@app.command(epilog="Example: `synthkit verify releases/digits-lt-augcond`")
def verify(
    release: ReleaseArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image as well.")] = False,
) -> None:
    """Check every byte of a release, and that images, labels, records and manifest agree."""
    with _user_errors():
        from synthkit.manifest import read_manifest
        from synthkit.progress import progress
        from synthkit.verify import verify_release

        manifest = read_manifest(release)
        total = sum(file.bytes for file in manifest.files)
        with progress("verifying", total / 1e3, unit="kB") as advance:
            faults = verify_release(release, manifest, lambda count: advance(count / 1e3), deep=deep)
        for fault in faults:
            print(_printable(f"{release / fault.path}: {fault.reason}"), file=sys.stderr)
        if faults:
            print(
                f"{release}: {len(faults)} fault(s); get it again, or build it with --fresh",
                file=sys.stderr,
            )
            raise typer.Exit(1)
        partial = f" (a preview of {manifest.partial.of:,})" if manifest.partial else ""
        print(
            f"{release}: {manifest.name} {manifest.version} is intact: {manifest.images:,} images{partial} "
            f"in {len(manifest.shards)} shard(s), {len(manifest.files)} files, {total / 1e6:,.1f} MB"
        )


@app.command(
    epilog="Examples: `synthkit replay releases/digits-lt-augcond 000000003` · "
    "`synthkit replay releases/digits-lt-augcond --sample 32` · "
    "`synthkit replay RELEASE 7 --set source.root=/data/flowers --out again`"
)
def replay(
    release: ReleaseArgument,
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of images.", show_default=False)] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="N images at random.", show_default=False)
    ] = None,
    override: SetOption = None,
    device: DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the images there.", show_default=False)
    ] = None,
) -> None:
    """Make images of a release again and compare them, bit for bit.

    It takes the release, the real images that the records name, and the model. Exits 1 if an image
    is not identical.
    """
    with _user_errors():
        import random

        from synthkit.errors import ReleaseError
        from synthkit.manifest import read_manifest
        from synthkit.progress import progress
        from synthkit.records import key_of
        from synthkit.replay import Replay
        from synthkit.trace import read_recipe, trace

        manifest = read_manifest(release)
        wanted = list(keys or [])
        if sample is not None:
            drawn = random.sample(range(manifest.images), min(sample, manifest.images))
            wanted += [key_of(index) for index in sorted(drawn)]
        if not wanted:
            raise ReleaseError("name keys, or give --sample N")
        traced = [trace(release, manifest, key) for key in wanted]
        run = Replay(manifest, read_recipe(release, override or ()), traced, device)
        with progress("replaying", len(traced)) as advance:
            done = list(run.run(advance))
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            for image in done:
                (out / f"{image.key}.{manifest.extension}").write_bytes(image.image)
        _print_replayed(done, run.differences)


@app.command(
    epilog="Examples: `synthkit init my-flowers` (asks) · "
    "`synthkit init my-flowers --set source.root=data/flowers --set target_per_class=500`"
)
def init(
    name: Annotated[
        str, typer.Argument(help="Name of the release; NAME.yaml is written.", show_default=False)
    ],
    override: SetOption = None,
    kind: Annotated[
        str, typer.Option(help="folder, listing, hub, coco, voc, flowers102 or digits.", show_default=False)
    ] = "",
) -> None:
    """Begin a recipe: the template, commented, with your answers filled in.

    On a terminal it asks for whatever no flag gives; elsewhere the template's values stay.
    """
    with _user_errors():
        from synthkit.init import check_name, write_recipe

        path = Path(f"{name}.yaml")
        check_name(path, name)
        write_recipe(path, [f"name={name}", *_answers(override or [], kind)])
        print(f"{path}: written. Next:")
        for command in ("doctor", "plan", "build"):
            print(f"  synthkit {command} {path}" + (" --limit 64" if command == "build" else ""))


def _answers(given: list[str], kind: str) -> list[str]:
    """The flags' answers, and on a terminal those to the questions that no flag answers."""
    from synthkit.init import questions
    from synthkit.source_config import SOURCES

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


@app.command(epilog="Example: `synthkit schema > recipes/recipe.schema.json`")
def schema() -> None:
    """Print the JSON Schema of recipes, which editors complete and check with."""
    with _user_errors():
        from synthkit.recipe import json_schema

        print(json.dumps(json_schema(), indent=2))


@app.command(epilog="Examples: `synthkit doctor` · `synthkit doctor recipes/caltech101.yaml`")
def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(help="A recipe to examine as well.", show_default=False)
    ] = None,
    override: SetOption = None,
    out: OutOption = None,
) -> None:
    """Show what this machine offers a build, and what would stop one.

    With a recipe: whether its real images are there and can be read, whether its model is here or how
    large its download is, and where to get what is missing.
    """
    with _user_errors():
        from synthkit.doctor import examine
        from synthkit.doctor_recipe import examine_recipe
        from synthkit.make import RELEASES, work_root

        checks = list(examine(out or RELEASES))
        if recipe is not None:
            checks += examine_recipe(_load(recipe, override), out or RELEASES, work_root(out))
        width = max(len(check.what) for check in checks)
        marks = {"ok": "  ", "note": "! ", "stop": "x "}
        for check in checks:
            print(_printable(f"{marks[check.verdict]}{check.what:<{width}}  {check.found}"))
        if any(check.verdict == "stop" for check in checks):
            print("A build would stop: see the lines marked x.", file=sys.stderr)
            raise typer.Exit(1)


def _load(path: Path, overrides: list[str] | None) -> Recipe:
    from synthkit.recipe_file import load

    return load(path, overrides or ())


def _print_outcome(outcome: Outcome) -> None:
    from synthkit.progress import duration

    facts, images = outcome.facts, len(outcome.facts.plan)
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


def _print_replayed(done: list[Replayed], differences: list[str]) -> None:
    for image in done:
        if image.identical:
            print(f"{image.key}: identical")
        elif image.largest == 0:
            print(f"{image.key}: the same pixels in another file")
        else:
            print(
                f"{image.key}: differs: PSNR {image.psnr:.1f} dB, {100 * image.share:.2g} % of values, "
                f"by at most {image.largest} grey levels"
            )
    count = sum(image.identical for image in done)
    print(f"{count:,} of {len(done):,} identical")
    if differences:
        print(f"this platform is another one: {', '.join(differences)}")
    if count < len(done):
        raise typer.Exit(1)


def _print_table(table: object) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(table)


@contextmanager
def _user_errors() -> Iterator[None]:
    """One line for whatever goes wrong by the user's or the machine's doing."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (SynthkitError, OSError) as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"error: {_printable(_one_line(error))}", file=sys.stderr)
        raise typer.Exit(1) from None


def _printable(text: str) -> str:
    """Text from files that may be hostile, without anything that a terminal obeys."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _one_line(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    what = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{what}{reason}; finished shards are kept: make room and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}{reason}; choose a folder you may write to with --out"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{what}is not a folder; choose another --out"
    return f"{what}{reason}"
