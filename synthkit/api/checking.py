"""`synthkit.verify`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.api.given import path_of, user_errors
from synthkit.errors import ReleaseError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.api.given import GivenPath
    from synthkit.publish.checked import Checked
    from synthkit.verification.faults import Fault


class DamagedRelease(ReleaseError):
    """A release is not what its manifest says; `faults` has everything that is wrong, as `path` and `reason`.

    Of faults that are alike the first ten are listed, and one more entry says how many others there are.
    """

    def __init__(self, message: str, faults: tuple[Fault, ...]) -> None:
        super().__init__(message)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Verified:
    """A release whose every byte is what its manifest says.

    `bytes` is the size of all its files, `seal` a digest over all of them, `partial_of` the number of images
    of the whole release if this is a preview. `signed_by` says who signed it, if that was asked.
    """

    path: Path
    name: str
    version: str
    images: int
    classes: int
    shards: int
    bytes: int
    seal: str
    partial_of: int | None
    signed_by: str | None


@user_errors
def verify(
    release: GivenPath, *, deep: bool = False, signer: GivenPath | None = None, issuer: str | None = None
) -> Verified:
    """Check every byte of a release, and whether its images, labels, records and manifest agree.

    `release` is a folder, or organisation/name@v1.0.0 on the Hub. `deep` also decodes every image. `signer`
    says who must have signed it: a file with their public key or with a certificate that vouches for theirs
    (PEM), or with `issuer` their identity at Sigstore.

    Raises DamagedRelease, a ReleaseError, with everything that is wrong; ReleaseError or HubError if there is
    no such release, SignatureError for a signer that cannot be meant.
    """
    from synthkit.publish.checked import check_release
    from synthkit.verification.signature import asked_signer

    asked = None if signer is None else str(path_of(signer, "signer", SignatureError))
    reference = str(path_of(release, "release", ReleaseError))
    checked = check_release(reference, asked_signer(asked, issuer), deep=deep)
    if checked.faults:
        raise DamagedRelease(_told(checked), checked.faults)
    manifest = checked.manifest
    return Verified(
        path=checked.folder,
        name=manifest.name,
        version=manifest.version,
        images=manifest.images,
        classes=len(manifest.classes),
        shards=len(manifest.shards),
        bytes=manifest.size,
        seal=manifest.seal,
        partial_of=None if manifest.partial is None else manifest.partial.of,
        signed_by=checked.signed_by,
    )


def _told(checked: Checked) -> str:
    first = checked.faults[0]
    return f"{checked.where / first.path}: {first.reason}; {checked.summary}"
