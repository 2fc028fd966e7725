"""manifest.json.sig: a signature over the manifest, whose hashes cover every other file of the release.

The file is what the OpenSSF's model-signing 1.x writes for the one file manifest.json: a Sigstore bundle with
a DSSE envelope around an in-toto statement, which has the manifest's SHA-256. This module reads what the file
says; `verification/signature.py` checks whose it is.

Sources: https://github.com/sigstore/model-transparency (format),
https://docs.sigstore.dev/about/bundle, https://github.com/secure-systems-lab/dsse,
https://github.com/in-toto/attestation/tree/main/spec/v1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from synthkit.release.files import SIGNATURE

if TYPE_CHECKING:
    from pathlib import Path

# Room for a chain of certificates, or for what Sigstore's log adds; a signature by a key has 1.4 kB.
MAX_BYTES = 1 << 17

_SHA256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says of itself, before anybody has checked it.

    `sha256` is that of the signed manifest. `key` is the SHA-256 of the public key as PEM, or empty;
    `certificate` the signer's certificate as DER, or empty.
    """

    by: Literal["key", "certificate", "sigstore"]
    sha256: str
    key: str = ""
    certificate: bytes = b""

    @property
    def claim(self) -> str:
        """Who has signed, in words, if the signature is right."""
        return {
            "key": f"the key with sha256 {self.key}",
            "certificate": "the key of a certificate",
            "sigstore": "an identity of Sigstore",
        }[self.by]


# Unknown fields are refused: with a value under each of two spellings of a name (`publicKey`, `public_key`),
# a file could say one thing here and another thing to model-signing.
class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class _PublicKey(_Part, frozen=True):
    hint: _SHA256


class _Certificate(_Part, frozen=True):
    raw_bytes: bytes


class _Chain(_Part, frozen=True):
    certificates: Annotated[list[_Certificate], msgspec.Meta(min_length=1)]


class _Material(_Part, frozen=True):
    public_key: _PublicKey | None = None
    x509_certificate_chain: _Chain | None = None
    certificate: _Certificate | None = None
    tlog_entries: list[msgspec.Raw] | None = None
    timestamp_verification_data: msgspec.Raw | None = None


class _OneSignature(_Part, frozen=True):
    sig: bytes
    keyid: str = ""


class _Envelope(_Part, frozen=True):
    payload: bytes
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_OneSignature], msgspec.Meta(min_length=1, max_length=1)]


class _Bundle(_Part, frozen=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(msgspec.Struct):
    name: Literal["."]
    algorithm: Literal["sha256"]
    digest: _SHA256


class _Predicate(msgspec.Struct):
    resources: Annotated[list[_Resource], msgspec.Meta(min_length=1, max_length=1)]


class _Statement(msgspec.Struct, rename="camel"):
    predicate_type: Literal["https://model_signing/signature/v1.0"]
    predicate: _Predicate


def read_signature(release: Path) -> bytes | None:
    """Return the bytes of a release's signature, unchecked; None if it has none.

    Of a file that is too large to be a signature, the beginning is returned.
    """
    path = release / SIGNATURE
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def parse_signature(raw: bytes) -> Signature | None:
    """Return what a signature says; None for bytes that are no signature over one manifest."""
    if len(raw) > MAX_BYTES:
        return None
    try:
        bundle = msgspec.json.decode(raw, type=_Bundle)
        statement = msgspec.json.decode(bundle.dsse_envelope.payload, type=_Statement)
    except (ValueError, RecursionError):
        return None
    sha256, material = statement.predicate.resources[0].digest, bundle.verification_material
    match material.public_key, material.x509_certificate_chain, material.certificate:
        case _PublicKey(hint=hint), None, None:
            return Signature("key", sha256, key=hint)
        case None, _Chain(certificates=[first, *_]), None:
            return Signature("certificate", sha256, certificate=first.raw_bytes)
        case None, None, _Certificate(raw_bytes=content):
            return Signature("sigstore", sha256, certificate=content)
    return None
