"""`synthkit export`: a release in the layout of another tool."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotation)
from typing import Annotated

import typer

from synthkit.cli import completion
from synthkit.cli.help import PUBLISH
from synthkit.cli.shared import ReleaseArgument, app, user_errors
from synthkit.system.names import printable

_LAYOUTS = ("imagefolder", "parquet", "coco", "fiftyone")


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit export releases/digits-lt-augcond --to imagefolder` · "
    "`synthkit export my-lab/digits@v1.0.0 --to coco --out digits-coco`",
)
def export(
    reference: ReleaseArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="LAYOUT",
            help="imagefolder: a folder for each class, for datasets, timm and torchvision. parquet: tables "
            "with the images in them, for datasets, pandas and the Hub's viewer. coco: COCO's JSON. "
            "fiftyone: FiftyOne's JSON.",
            autocompletion=completion.one_of(*_LAYOUTS),
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The new folder; an empty one will do. Default: NAME-LAYOUT, here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a release in the layout of another tool, each image with its provenance as fields.

    The release is verified first. The folder appears when all of it is written: after Ctrl-C there is none.
    """
    with user_errors():
        from synthkit.exports.export import export_release
        from synthkit.publish.pull import find_release

        exported = export_release(reference, lambda: find_release(reference), to, out)
        print(printable(f"{exported.path}: {exported.images:,} images for {exported.to}"))
        print(printable(f"Load it in Python: {exported.load}"))
