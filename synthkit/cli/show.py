"""`synthkit show`: what a release holds, or how one of its images was made."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.output import print_json
from synthkit.cli.shared import ReleaseArgument, SetOption, app, user_errors
from synthkit.system.names import printable


@app.command(
    rich_help_panel=TRUST,
    epilog="Examples: `synthkit show releases/digits-lt-augcond` · "
    "`synthkit show releases/digits-lt-augcond 000000003 --picture history.png`",
)
def show(
    reference: ReleaseArgument,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The key of an image.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the image's sources, its conditioning and itself side by side.",
            show_default=False,
        ),
    ] = None,
    override: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show what a release holds, or how one of its images was made and from which real ones."""
    with user_errors():
        from synthkit.errors import ReleaseError
        from synthkit.inspection.show import as_text, history, summary
        from synthkit.publish.pull import find_release
        from synthkit.release.files import RECIPE
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.image import read_image
        from synthkit.release.places import receive
        from synthkit.release.signature import read_signature
        from synthkit.system.files import write_file

        release = find_release(reference, [RECIPE] if key is None else ())
        with ReleaseFolder.at(release).opened() as manifest:
            received = receive(release, manifest, override or ())
            traced = None if key is None else read_image(release, manifest, key)
        if traced is None:
            if picture is not None:
                raise ReleaseError("--picture shows one image: name its key")
            if as_json:
                print_json(manifest.to_json().decode())
            else:
                print(printable(as_text(summary(manifest, received.recipe, read_signature(release)))))
            return
        if picture is not None:
            from synthkit.inspection.history_picture import history_picture

            write_file(picture, history_picture(received, traced))
        if as_json:
            print_json(traced.record.to_json().decode())
        else:
            print(printable(as_text(history(manifest, traced))))
            if picture is not None:
                print(printable(f"The history as a picture: {picture}"))
