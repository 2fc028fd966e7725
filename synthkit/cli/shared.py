"""What several commands use: the application, options, output; errors become one line and exit code 1."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkit.cli import completion
from synthkit.cli.help import App, Group
from synthkit.cli.output import print_json
from synthkit.errors import SynthkitError, told_to_user
from synthkit.hub.environment import faults_set_aside
from synthkit.system import stopping
from synthkit.system.names import printable
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.builder.outcome import Outcome
    from synthkit.recipe.schema import Recipe

app = App(
    name="synthkit",
    no_args_is_help=True,
    cls=Group,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Turn a small, unbalanced set of real images into a synthetic training set in which every image "
    "can be traced and made again.",
    epilog="Start with: `synthkit init digits-demo --from digits_lt_ecd`, then "
    "`synthkit build digits-demo.yaml` (about a minute on 2 CPU cores; no download)",
)

RecipeArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="The recipe, a YAML file.",
        show_default=False,
        autocompletion=completion.recipes,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field of the recipe, e.g. conditioning.method=dropout. Repeatable.",
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
EarlierOption = Annotated[
    Path | None,
    typer.Option(
        "--earlier",
        metavar="DIR",
        help="The release of an earlier version, whose images a grown release keeps. Default: the one in the "
        "place of the new one.",
        show_default=False,
    ),
]
TokensOption = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FILE",
        help="The learned tokens of the recipe's classes, as `synthkit train-tokens --to` writes them, or "
        "the tokens.safetensors of a release. Default: those of the work folder, learned if missing.",
        show_default=False,
    ),
]
FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RELEASE",
        help="The release folder.",
        show_default=False,
        autocompletion=completion.releases,
    ),
]
ReleaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="RELEASE",
        help="A release folder, or organisation/name@v1.0.0 on the Hub.",
        show_default=False,
        autocompletion=completion.releases,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:1, mps.",
        autocompletion=completion.one_of(*completion.DEVICES),
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write JSON to this file instead; folders are made as needed.",
        show_default=False,
    ),
]
DEBUG = "SYNTHKIT_DEBUG"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a mistake of the user or a fault of the machine into one line on stderr and exit code 1."""
    try:
        with faults_set_aside():
            yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except Stopped:
        stopping.say("stopped; what is made is kept, and the same command goes on")
        raise typer.Exit(143) from None
    except (SynthkitError, OSError) as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"error: {printable(told_to_user(error))}", file=sys.stderr)
        raise typer.Exit(1) from None


def load_recipe(path: Path, overrides: list[str] | None) -> Recipe:
    """Read a recipe and apply the changes of `--set`."""
    from synthkit.recipe.load import load

    return load(path, overrides or ())


def print_outcome(outcome: Outcome, seconds: float, merge_command: str = "") -> None:
    """Say what a build or a merge made in how many seconds, and what to do next.

    `merge_command` completes a part.
    """
    from synthkit.builder.options import WHOLE
    from synthkit.system.progress import duration

    inputs, images = outcome.inputs, len(outcome.inputs.plan)
    if outcome.part != WHOLE and outcome.made is not None:
        made = outcome.made.images
        numbers = outcome.part.shards(inputs.plan)
        print(
            f"{outcome.release}: part {outcome.part} is finished, {len(numbers)} of {inputs.plan.shards} "
            f"shards, {made:,} images made now in {duration(seconds)}"
        )
        print(f"When all parts are finished: {merge_command} (and the folders of other parts)")
        return
    if outcome.made is None:
        print(f"{outcome.release}: up to date, {images:,} images; nothing to do")
        return
    made = outcome.made.images
    rate = f", {inputs.making} at {outcome.made.rate:.1f} images/s" if made else ""
    print(
        f"{outcome.release}: {images:,} images in {inputs.plan.shards} shard(s), "
        f"{made:,} of them made now; {duration(seconds)} in all{rate}"
    )
    if inputs.preview:
        print(
            f"This is a preview: {images:,} of {inputs.planned:,} images; a release is built without --limit."
        )
    print(f"Look at {outcome.release / 'samples.png'}; check it with: synthkit verify {outcome.release}")


def write_report(facts: dict[str, Any], path: Path | None) -> None:
    """Print facts as JSON, or write them to a file (whole or not at all)."""
    from synthkit.system.files import make_folder, write_file

    text = json.dumps(facts, indent=2, ensure_ascii=False)
    if path is None:
        print_json(text)
        return
    make_folder(path.parent)
    # Bytes of file names that are not UTF-8 are escaped; UTF-8 writes everything else.
    write_file(path, f"{text}\n".encode(errors="backslashreplace"))


def print_table(table: object) -> None:
    """Print a table of rich's in the terminal's width, or in 120 columns into a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(table)
