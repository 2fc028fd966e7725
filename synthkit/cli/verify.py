"""`synthkit verify`: a check of every byte of a release."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthkit.cli.help import TRUST
from synthkit.cli.shared import (
    ReleaseArgument,
    ReportOption,
    app,
    user_errors,
    write_report,
)
from synthkit.cli.signing import IssuerOption, SignerOption  # noqa: TC001 (typer reads the annotations)
from synthkit.system.names import printable

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.release.facts import SignerFacts
    from synthkit.release.manifest import Manifest


@app.command(rich_help_panel=TRUST, epilog="Example: `synthkit verify releases/digits-lt-augcond`")
def verify(
    reference: ReleaseArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image as well.")] = False,
    signer: SignerOption = None,
    issuer: IssuerOption = None,
    report: ReportOption = None,
) -> None:
    """Check every byte of a release, and whether images, labels, records and manifest agree.

    With --signer, also check that they signed it, and say who it was.
    """
    with user_errors():
        from synthkit.publish.checked import check_release
        from synthkit.verification.signature import asked_signer

        checked = check_release(reference, asked_signer(signer, issuer), deep=deep)
        where, manifest, signed_by = checked.where, checked.manifest, checked.signed_by
        for fault in checked.faults:
            print(printable(f"{where / fault.path}: {fault.reason}"), file=sys.stderr)
        if checked.faults:
            print(f"{where}: {checked.summary}", file=sys.stderr)
            raise typer.Exit(1)
        if report is not None:
            write_report(_verified(manifest) | ({} if signed_by is None else {"signer": signed_by}), report)
        partial = f" (a preview of {manifest.partial.of:,})" if manifest.partial else ""
        print(
            f"{where}: {manifest.name} {manifest.version} is intact: {manifest.images:,} images{partial} "
            f"in {len(manifest.shards)} shard(s), {len(manifest.files)} files, {manifest.size / 1e6:,.1f} MB"
        )
        print(printable(_who(signed_by, checked.signature, where)))
        if manifest.c2pa is not None:
            print(printable(_image_signer(manifest.c2pa)))


def _who(signed_by: str | None, signature: bytes | None, where: Path) -> str:
    """Say who made the release, or that nothing tells a consistent forgery from it."""
    from synthkit.release.signature import parse_signature

    if signed_by is not None:
        return f"Signed by {signed_by}"
    said = None if signature is None else parse_signature(signature)
    if said is not None:
        return f"It has a signature that says it is by {said.claim}; whether it is, --signer WHO checks"
    return (
        "Not signed: whoever can change all files can forge a release that is as consistent as this one. "
        f"synthkit replay {where} --sample 8 tells whether its images are what its records say; who made "
        "them, only a signature could"
    )


def _image_signer(signer: SignerFacts) -> str:
    return (
        f"Each image is signed (C2PA) by {signer.subject}, with the certificate of SHA-256 "
        f"{signer.fingerprints[0]}: compare it with what the signer publishes"
    )


def _verified(manifest: Manifest) -> dict[str, Any]:
    """Return the counts that `dvc metrics` shows, and the seal, a digest over all files."""
    return {
        "version": manifest.version,
        "images": manifest.images,
        "classes": len(manifest.classes),
        "shards": len(manifest.shards),
        "bytes": manifest.size,
        "seal": manifest.seal,
    }
