"""A release checked for whoever received it, wherever it is: every byte, and who signed it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import SignatureError
from synthkit.publish.pull import find_release
from synthkit.release.files import SIGNATURE
from synthkit.release.folder import ReleaseFolder
from synthkit.release.signature import read_signature
from synthkit.verification.faults import Fault, total
from synthkit.verification.verify import verify_with_progress

if TYPE_CHECKING:
    from synthkit.release.manifest import Manifest
    from synthkit.verification.signature import Signer


@dataclass(frozen=True, slots=True)
class Checked:
    """A release and what is wrong with it.

    `folder` is where it is, `where` what the user calls it: of a release on the Hub the reference, since its
    folder in the client's cache means nothing. `signed_by` says who signed it, if that was asked.
    """

    folder: Path
    where: Path
    manifest: Manifest
    faults: tuple[Fault, ...]
    signature: bytes | None
    signed_by: str | None

    @property
    def summary(self) -> str:
        """How many faults there are, and what to do."""
        own = self.where == self.folder and any(fault.path != SIGNATURE for fault in self.faults)
        advice = "get it again, or build it with --fresh" if own else "ask its publisher"
        return f"{total(self.faults)} fault(s); {advice}"


def check_release(reference: str, signer: Signer | None, *, deep: bool) -> Checked:
    """Check a release that is a folder or on the Hub; progress is shown.

    `deep` also decodes every image. Raises ReleaseError or HubError if there is none.
    """
    folder = find_release(reference)
    where = folder if Path(reference).exists() else Path(reference)
    with ReleaseFolder.at(folder).opened() as manifest:
        faults, signature = verify_with_progress(folder, manifest, deep=deep), read_signature(folder)
    signed_by, reason = _signed_by(signer, manifest.to_json(), signature)
    if reason and not any(fault.path == SIGNATURE for fault in faults):
        faults.append(Fault(SIGNATURE, reason))
    return Checked(folder, where, manifest, tuple(faults), signature, signed_by)


def _signed_by(asked: Signer | None, manifest: bytes, signature: bytes | None) -> tuple[str | None, str]:
    """Return who signed, if that was asked, and what is wrong with the signature."""
    try:
        return (None if asked is None else asked.check(manifest, signature)), ""
    except SignatureError as error:
        return None, str(error)
