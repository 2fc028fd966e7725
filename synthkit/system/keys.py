"""Reads PEM files of keys and certificates.

No message quotes a key or a password, or what a library says about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

PASSWORD = "SYNTHKIT_KEY_PASSWORD"  # noqa: S105 (the name of a variable)
# No key and no chain of certificates is larger.
MAX_PEM_BYTES = 1 << 20


def read_pem(path: Path, option: str) -> bytes:
    """Return the bytes of a file of keys or certificates. Raises SignatureError if it cannot be one."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{option} {path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_PEM_BYTES or b"-----BEGIN " not in content:
        raise SignatureError(f"{option} {path}: is not a PEM file, which begins with -----BEGIN")
    return content


def read_private_key(
    path: Path, option: str, password: Callable[[Path], str | None], how_to_give_it: str
) -> PrivateKeyTypes:
    """Read a private key from a PEM file; `password` is called if it has one.

    Raises SignatureError if it is another kind of file, or the password is missing or wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem, where = read_pem(path, option), f"{option} {path}"
    if b"PRIVATE KEY-----" not in pem:
        kind = (
            "a certificate"
            if b"CERTIFICATE-----" in pem
            else "a public key"
            if b"PUBLIC" in pem
            else "not a key"
        )
        raise SignatureError(f"{where}: is {kind}; signing takes the private key (PEM)")
    try:
        try:
            return load_pem_private_key(pem, None)
        except TypeError:
            # It is encrypted.
            return _decrypted(pem, where, password(path), how_to_give_it)
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(f"{where}: is not a private key that can be read (PEM)") from None


def public_pem(key: PublicKeyTypes) -> bytes:
    """Return a public key in the one form that its SHA-256 is taken of."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _decrypted(pem: bytes, where: str, password: str | None, how_to_give_it: str) -> PrivateKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not password:
        raise SignatureError(f"{where}: has a password: {how_to_give_it}")
    try:
        return load_pem_private_key(pem, password.encode())
    except ValueError:
        raise SignatureError(f"{where}: its password is another one") from None
