"""Checks the C2PA manifests of images: each is written again from its record, and its signature checked.

That the certificate is one to trust, or was valid when it signed, this cannot tell.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from synthkit.errors import SignatureError
from synthkit.release.content_credentials import unsigned_manifest
from synthkit.release.embedded_manifest import embed_manifest, without_manifest
from synthkit.release.image_signer import SIGNATURE_BYTES, read_image_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.release.image_signer import ImageSigner
    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


def require_c2pa(what_for: str) -> None:
    """Raise SignatureError, which begins with `what_for`, unless what the extra `c2pa` brings is there."""
    if not all(map(find_spec, ("c2pa", "cbor2", "cryptography"))):
        raise SignatureError(
            f"{what_for} c2pa-python, cbor2 and cryptography, which are not all installed here: in the clone "
            "of synthkit, pip install '.[c2pa]'"
        )


def signer_of(manifest: Manifest) -> ImageSigner | None:
    """Return who signed the images of a release; None if they are not signed.

    Raises ValueError, in words about the certificate, if it signs no images.
    """
    return None if manifest.c2pa is None else read_image_signer(manifest.c2pa.der)


def signer_faults(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with what a manifest says about the signer of its images."""
    try:
        signer = signer_of(manifest)
    except ValueError as error:
        yield f"has a certificate in c2pa that signs no images: {error}"
        return
    said, wanted = manifest.c2pa and manifest.c2pa.subject, signer and signer.subject
    if said != wanted:
        yield f"says c2pa.subject is {said!s:.64}, by the certificate it is {wanted!s:.64}"


def image_faults(
    image: bytes, extension: str, record: Provenance, found: bytes | None, signer: ImageSigner | None
) -> Iterator[str]:
    """Yield what is wrong with the C2PA manifest that was found in an image file, or that none was."""
    if signer is None or found is None:
        if found is not None:
            yield "its image has a C2PA manifest, and the release says that its images are not signed"
        elif signer is not None:
            yield "its image lacks the C2PA manifest that says who signed it"
        return
    bare = without_manifest(image, extension, found)
    try:
        wanted = unsigned_manifest(bare, extension, record, signer)
    except ValueError as error:
        yield str(error)
        return
    signature = found[-SIGNATURE_BYTES:]
    if embed_manifest(bare, extension, wanted.signed(signature)).file != image:
        yield "its image has another C2PA manifest than its record gives"
    elif not signer.signed(signature, wanted.to_sign):
        yield "its image's C2PA manifest is not signed by the key of the release's certificate"
