"""`synthkit croissant`: a release's metadata for machines, alone or in the Hub's own file."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer reads the annotation)
from typing import TYPE_CHECKING, Annotated

import typer

from synthkit.cli.help import PUBLISH
from synthkit.cli.output import print_json
from synthkit.cli.shared import ReleaseArgument, app, user_errors
from synthkit.errors import ReleaseError
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit croissant releases/digits-lt-augcond` · "
    "`synthkit croissant my-lab/digits@v1.0.0 --into croissant-of-the-hub.json`",
)
def croissant(
    reference: ReleaseArgument,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FILE",
            help="Write it into this file, which the Hub made: /api/datasets/ORG/NAME/croissant.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print a release's Croissant metadata, or write it into the file that the Hub generates."""
    with user_errors():
        from synthkit.publish.pull import find_release
        from synthkit.release.files import CROISSANT
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.hub_croissant import merged, read_croissant
        from synthkit.system.files import write_file

        release = find_release(reference, [CROISSANT])
        with ReleaseFolder.at(release).opened() as manifest:
            _check(reference, manifest)
            if into is None:
                print_json(json.dumps(read_croissant(release / CROISSANT), indent=2, ensure_ascii=False))
                return
            theirs = read_croissant(into)
            content = merged(theirs, str(into), release, manifest)
        write_file(into, content)
        print(printable(f"{into}: now states what {reference} states: {manifest.name} {manifest.version}"))


def _check(reference: str, manifest: Manifest) -> None:
    """Raise ReleaseError if a manifest has a fault of its own: the metadata would repeat it."""
    from synthkit.verification.manifest import misnamed_files, own_faults

    for fault in (*misnamed_files(manifest), *own_faults(manifest)):
        raise ReleaseError(f"{reference}: its manifest {fault}: run synthkit verify {reference}")
