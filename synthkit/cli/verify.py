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
from synthkit.system.names import printable

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest


@app.command(rich_help_panel=TRUST, epilog="Example: `synthkit verify releases/digits-lt-augcond`")
def verify(
    reference: ReleaseArgument,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image as well.")] = False,
    report: ReportOption = None,
) -> None:
    """Check every byte of a release, and whether images, labels, records and manifest agree."""
    with user_errors():
        from synthkit.publish.pull import find_release
        from synthkit.release.folder import ReleaseFolder
        from synthkit.verification.faults import total
        from synthkit.verification.verify import verify_with_progress

        release = find_release(reference)
        # A release on the Hub is told by its reference: its folder in the client's cache means nothing.
        where = release if Path(reference).exists() else Path(reference)
        with ReleaseFolder.at(release).opened() as manifest:
            faults = verify_with_progress(release, manifest, deep=deep)
        for fault in faults:
            print(printable(f"{where / fault.path}: {fault.reason}"), file=sys.stderr)
        if faults:
            print(
                f"{where}: {total(faults)} fault(s); "
                + ("get it again, or build it with --fresh" if where == release else "ask its publisher"),
                file=sys.stderr,
            )
            raise typer.Exit(1)
        if report is not None:
            write_report(_verified(manifest), report)
        partial = f" (a preview of {manifest.partial.of:,})" if manifest.partial else ""
        print(
            f"{where}: {manifest.name} {manifest.version} is intact: {manifest.images:,} images{partial} "
            f"in {len(manifest.shards)} shard(s), {len(manifest.files)} files, {manifest.size / 1e6:,.1f} MB"
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
