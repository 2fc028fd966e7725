"""The `output.c2pa` section of a recipe: who signs the images."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from synthkit.config.section import Section
from synthkit.errors import SignatureError
from synthkit.system.keys import read_pem

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Credentials(Section):
    """Signs each image as a C2PA manifest (Content Credentials) by a certificate."""

    certificate: str | None = Field(
        None,
        min_length=1,
        description="The certificate of the key, then those that it was issued by: a PEM file.",
    )
    key: str | None = Field(
        None,
        min_length=1,
        description="The private key, Ed25519 or on curve P-256: a PEM file; SYNTHKIT_KEY_PASSWORD opens it. "
        "No release holds its path.",
    )
    fingerprints: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="The SHA-256 that each certificate in the file must have; a release states them.",
    )

    @model_validator(mode="after")
    def _some_certificate(self) -> Self:
        if self.certificate is None and self.fingerprints is None:
            raise ValueError("name the certificate and the key to sign with, or remove c2pa")
        return self

    def certificates(self) -> tuple[bytes, ...]:
        """Return the certificates in the file as DER, the key's first.

        Raises SignatureError if they cannot be read or have other fingerprints than the recipe says.
        """
        if self.certificate is None:
            raise SignatureError(
                "output.c2pa.certificate: is missing: only who has the certificate and its key can sign the "
                "images; to build them unsigned: --set output.c2pa=null"
            )
        where = f"output.c2pa.certificate {self.certificate}"
        path = Path(os.path.expanduser(self.certificate))  # noqa: PTH111
        pem = read_pem(path, "output.c2pa.certificate").decode("ascii", "replace")
        try:
            found = tuple(ssl.PEM_cert_to_DER_cert(text) for text in _CERTIFICATE.findall(pem))
        except ValueError:
            found = ()
        if not found:
            raise SignatureError(f"{where}: is not a certificate (PEM)")
        if self.fingerprints not in (None, _fingerprints(found)):
            raise SignatureError(f"{where}: is another certificate than output.c2pa.fingerprints says")
        return found

    def pinned(self) -> Self:
        """Return this section as a release states it: fingerprints, and no path.

        Raises SignatureError if the certificate is needed for that and cannot be read.
        """
        if self.certificate is None:
            return self
        known = {"fingerprints": _fingerprints(self.certificates()), "certificate": None, "key": None}
        return self.model_copy(update=known)


def _fingerprints(certificates: tuple[bytes, ...]) -> list[str]:
    return [hashlib.sha256(certificate).hexdigest() for certificate in certificates]
