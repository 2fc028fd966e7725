"""`synthkit pull`: download a release from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from synthkit.cli.help import PUBLISH
from synthkit.cli.shared import app, user_errors
from synthkit.cli.signing import IssuerOption, SignerOption  # noqa: TC001 (typer reads the annotations)
from synthkit.system.names import printable


@app.command(
    rich_help_panel=PUBLISH,
    epilog="Examples: `synthkit pull my-lab/digits@v1.0.0` · `synthkit pull my-lab/digits@v1.0.0 --out data`",
)
def pull(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="ORG/NAME@VERSION",
            help="A release on the Hub, e.g. my-lab/digits@v1.0.0.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Put it in DIR/NAME. Default: releases.", show_default=False),
    ] = None,
    signer: SignerOption = None,
    issuer: IssuerOption = None,
) -> None:
    """Download a release from the Hub and check every byte, to replay, audit or train on it.

    Stop it at any time: the same command downloads the rest.
    """
    with user_errors():
        from synthkit.builder.options import RELEASES
        from synthkit.publish.pull import pull as fetch
        from synthkit.verification.signature import asked_signer

        target, manifest, signed_by = fetch(reference, out or RELEASES, asked_signer(signer, issuer))
        print(
            f"{target}: {manifest.name} {manifest.version} is here and intact: {manifest.images:,} images in "
            f"{len(manifest.shards)} shard(s), {manifest.size / 1e6:,.1f} MB"
        )
        if signed_by is not None:
            print(printable(f"Signed by {signed_by}"))
        print(
            f"Look at {target / 'samples.png'}; make images again with: synthkit replay {target} --sample 8"
        )
