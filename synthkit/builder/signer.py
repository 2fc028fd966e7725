"""Signs the images of a build as C2PA manifests, with the certificate and the key that the recipe names.

Only builds read the key. No message quotes a key or a password, nor what a library says about them.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import SignatureError, one_line
from synthkit.release.content_credentials import unsigned_manifest
from synthkit.release.embedded_manifest import embed_manifest
from synthkit.release.image_signer import read_image_signer
from synthkit.release.image_writer import encode
from synthkit.system.keys import PASSWORD, public_pem, read_private_key
from synthkit.system.names import fault_in
from synthkit.verification.content_credentials import require_c2pa
from synthkit.verification.signature import outside_validity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from synthkit.recipe.credentials import Credentials
    from synthkit.recipe.output import Output
    from synthkit.release.content_credentials import Described
    from synthkit.release.image_signer import ImageSigner
    from synthkit.sources.base import SourceImage

    PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey

_CERTIFICATE, _KEY = "output.c2pa.certificate", "output.c2pa.key"
# Said of every certificate that is on no list. Whom to trust is for those who read the images to decide.
_UNKNOWN = "signingCredential.untrusted"


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate and its key."""

    public: ImageSigner
    _key: PrivateKey = field(repr=False)

    def sign(self, image: bytes, extension: str, record: Described) -> bytes:
        """Return an image file with its C2PA manifest; the same file each time."""
        unsigned = unsigned_manifest(image, extension, record, self.public)
        manifest = unsigned.signed(self._signature(unsigned.to_sign))
        return embed_manifest(image, extension, manifest).file

    def _signature(self, message: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        numbers = decode_dss_signature(self._key.sign(message, ECDSA(SHA256(), deterministic_signing=True)))
        return b"".join(number.to_bytes(32) for number in numbers)


def open_signer(output: Output) -> Signer | None:
    """Return what signs the images of a build; None if the recipe does not ask for it.

    Raises SignatureError if the certificate or the key cannot be read, or do not fit together.
    """
    if output.c2pa is None:
        return None
    require_c2pa("output.c2pa: signing images needs")
    public = _public(output.c2pa)
    key = _private_key(output.c2pa)
    if public_pem(key.public_key()) != public_pem(public.public_key):
        raise SignatureError(
            f"{_KEY} {output.c2pa.key}: is not the key of the first certificate in {output.c2pa.certificate}"
        )
    return Signer(public, key)


def check_signing(output: Output) -> None:
    """Raise SignatureError if the images of a build cannot be signed, or no reader of C2PA would accept that.

    A small image is signed, and c2pa-python reads it.
    """
    signer = open_signer(output)
    if signer is None or output.c2pa is None:
        return
    where = f"{_CERTIFICATE} {output.c2pa.certificate}"
    reason = outside_validity(signer.public.certificate)
    if reason:
        raise SignatureError(f"{where}: {reason}: nobody would accept what it signs")
    if complaints := _complaints(signer, output):
        raise SignatureError(f"{where}: readers of C2PA refuse what it signs: {complaints}")


def _public(credentials: Credentials) -> ImageSigner:
    where = f"{_CERTIFICATE} {credentials.certificate}"
    try:
        signer = read_image_signer(credentials.certificates())
    except ValueError as error:
        raise SignatureError(f"{where}: {error}") from None
    if fault_in(signer.subject):
        raise SignatureError(f"{where}: its subject is not printable")
    return signer


def _private_key(credentials: Credentials) -> PrivateKey:
    if credentials.key is None:
        raise SignatureError("output.c2pa.key: is missing: name the private key of the certificate (PEM)")
    path = Path(os.path.expanduser(credentials.key))  # noqa: PTH111
    # A build asks nobody: its workers have no terminal.
    return read_private_key(path, _KEY, lambda _: os.environ.get(PASSWORD), f"set {PASSWORD}")  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a manifest takes from a record, for an image of no release."""

    key: str = "000000000"
    model: str = "none"
    revision: str = "none"
    sources: tuple[SourceImage, ...] = ()


def _complaints(signer: Signer, output: Output) -> str:
    """Sign a small image, and return what c2pa-python says against it."""
    import c2pa
    from PIL import Image

    image = encode(Image.new("RGB", (8, 8)), output, b"<x/>")
    signed = signer.sign(image, output.extension, _Sample())
    settings = {"verify": {"remote_manifest_fetch": False}}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(f"image/{output.format}", io.BytesIO(signed), context=context) as reader,
        ):
            found = json.loads(reader.json()).get("validation_status", [])
    except c2pa.C2paError as error:
        return one_line(str(error))
    return "; ".join(f"{item['code']}: {item['explanation']}" for item in found if item["code"] != _UNKNOWN)
