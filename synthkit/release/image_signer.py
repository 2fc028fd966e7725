"""Who signs the images of a release: an X.509 certificate, and whether a signature is of its key.

Of the signatures that C2PA knows, a release has those that are the same each time: Ed25519 (RFC 8032), and
ECDSA on curve P-256 with a nonce by RFC 6979.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

# Of both kinds: a signature on P-256 is written as two numbers of 32 bytes (RFC 9053).
SIGNATURE_BYTES = 64
# Every image holds the certificates.
_MAX_BYTES = 1 << 15
# COSE's numbers of the signatures.
_ED25519, _ES256 = -8, -7


@dataclass(frozen=True, slots=True)
class ImageSigner:
    """The signer's certificate and its key. `certificates` has it and those that it was issued by, as DER.

    `algorithm` is COSE's number of the signature (RFC 9053).
    """

    certificates: tuple[bytes, ...]
    certificate: x509.Certificate
    public_key: PublicKey
    algorithm: int

    @property
    def subject(self) -> str:
        """Who the certificate says the signer is (RFC 4514)."""
        return self.certificate.subject.rfc4514_string()

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Return whether a signature, of 64 bytes, over a message is of the certificate's key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self.public_key, Ed25519PublicKey):
                self.public_key.verify(signature, message)
            else:
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                self.public_key.verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def read_image_signer(certificates: Sequence[bytes]) -> ImageSigner:
    """Return the signer with a chain of certificates, as DER, the signer's first.

    Raises ValueError, in words about `it`, if that one cannot be read or is of another kind of key.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if sum(map(len, certificates)) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
    try:
        certificate = x509.load_der_x509_certificate(certificates[0])
        key = certificate.public_key()
        certificate.subject.rfc4514_string()
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it cannot be read") from None
    if isinstance(key, Ed25519PublicKey):
        return ImageSigner(tuple(certificates), certificate, key, _ED25519)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return ImageSigner(tuple(certificates), certificate, key, _ES256)
    raise ValueError("it is of a key that is neither Ed25519 nor on curve P-256")
