"""`synthkit verify`: a check of every byte of a release."""

from __future__ import annotations

import sys
from pathlib import Path
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
from synthkit.cli.signing import IssuerOption, SignerOption, signer_of
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.release.facts import SignerFacts
    from synthkit.release.manifest import Manifest
    from synthkit.verification.signature import Signer


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
        from synthkit.publish.pull import find_release
        from synthkit.release.files import SIGNATURE
        from synthkit.release.folder import ReleaseFolder
        from synthkit.release.signature import read_signature
        from synthkit.verification.faults import Fault, total
        from synthkit.verification.verify import verify_with_progress

        asked = signer_of(signer, issuer)
        release = find_release(reference)
        # A release on the Hub is told by its reference: its folder in the client's cache means nothing.
        where = release if Path(reference).exists() else Path(reference)
        with ReleaseFolder.at(release).opened() as manifest:
            faults, signature = verify_with_progress(release, manifest, deep=deep), read_signature(release)
        signed_by, reason = _signed_by(asked, manifest.to_json(), signature)
        if reason and not any(fault.path == SIGNATURE for fault in faults):
            faults.append(Fault(SIGNATURE, reason))
        for fault in faults:
            print(printable(f"{where / fault.path}: {fault.reason}"), file=sys.stderr)
        if faults:
            own = where == release and any(fault.path != SIGNATURE for fault in faults)
            print(
                f"{where}: {total(faults)} fault(s); "
                + ("get it again, or build it with --fresh" if own else "ask its publisher"),
                file=sys.stderr,
            )
            raise typer.Exit(1)
        if report is not None:
            write_report(_verified(manifest) | ({} if signed_by is None else {"signer": signed_by}), report)
        partial = f" (a preview of {manifest.partial.of:,})" if manifest.partial else ""
        print(
            f"{where}: {manifest.name} {manifest.version} is intact: {manifest.images:,} images{partial} "
            f"in {len(manifest.shards)} shard(s), {len(manifest.files)} files, {manifest.size / 1e6:,.1f} MB"
        )
        print(printable(_who(signed_by, signature, where)))
        if manifest.c2pa is not None:
            print(printable(_image_signer(manifest.c2pa)))


def _signed_by(asked: Signer | None, manifest: bytes, signature: bytes | None) -> tuple[str | None, str]:
    """Return who signed, if that was asked, and what is wrong with the signature."""
    from synthkit.errors import SignatureError

    try:
        return (None if asked is None else asked.check(manifest, signature)), ""
    except SignatureError as error:
        return None, str(error)


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
