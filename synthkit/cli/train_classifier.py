"""`synthkit train-classifier`: train the classifier that guides a recipe's images on its real ones."""

from __future__ import annotations

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
from synthkit.errors import BuildError
from synthkit.system.names import printable


@app.command(
    "train-classifier",
    rich_help_panel=MAKE,
    epilog="Examples: `synthkit train-classifier my.yaml` · `synthkit train-classifier my.yaml "
    "--to classifier.safetensors`",
)
def train_classifier(
    recipe: RecipeArgument,
    override: SetOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="Also write it to a safetensors file, which another machine is given as the checkpoint of "
            "the classifier.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train it anew.")] = False,
) -> None:
    """Train the classifier by which `sampler.feedback` guides, on the real images of a recipe alone.

    `synthkit build` does the same first, if it is not in the work folder.
    """
    with user_errors():
        from synthkit.builder.inputs import check_leaks, read_inputs
        from synthkit.system.files import check_file_places, make_folder, write_file
        from synthkit.system.work_root import work_root

        loaded = load_recipe(recipe, override)
        if loaded.sampler.feedback is None:
            raise BuildError("sampler.feedback: is missing, so no classifier guides; nothing to train")
        if loaded.sampler.feedback.classifier.checkpoint is not None:
            raise BuildError(
                "sampler.feedback.classifier.checkpoint: names a file of weights, so nothing is to be "
                "trained; set it to null to train others"
            )
        check_file_places(to)
        inputs = read_inputs(loaded, work_root(out), device=device, fresh=fresh)
        check_leaks(inputs)
        assert inputs.classifier is not None  # noqa: S101 (for the type checker)
        classes = len(inputs.real.listing.classes)
        print(
            printable(
                f"{inputs.classifier}: {loaded.sampler.feedback.classifier.network} of {classes} classes"
            )
        )
        if to is not None:
            make_folder(to.parent)
            write_file(to, inputs.classifier.read_bytes())
            section = "sampler.feedback.classifier"
            print(
                printable(
                    f"{to}: the same; elsewhere --set {section}.checkpoint={to} "
                    f"--set {section}.sha256={inputs.classifier.stem}"
                )
            )
