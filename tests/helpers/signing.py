"""Keys and certificates made on the spot, and signatures that no command would make."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from tests.conftest import Cli

SIGNATURE = "manifest.json.sig"


@dataclass(frozen=True)
class KeyPair:
    """Files of a private key and of its public key, and the SHA-256 of the public one."""

    key: Path
    pub: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.pub.read_bytes()).hexdigest()


def make_key(folder: Path, name: str, key: Any = None, password: str = "") -> KeyPair:
    """Write a key pair; by default of curve P-256."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    pair = KeyPair(folder / f"{name}.pem", folder / f"{name}.pub")
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    pair.pub.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pair


@dataclass(frozen=True)
class Certified:
    """A key with a certificate, in memory and as files."""

    key: Any
    certificate: x509.Certificate
    key_file: Path
    file: Path


def certify(
    folder: Path,
    name: str,
    issuer: Certified | None = None,
    *,
    authority: bool = False,
    days: tuple[int, int] = (-1, 30),
    may_sign: bool = True,
    password: str = "",
    key: Any = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
) -> Certified:
    """Write a key and a certificate, signed by itself or by another, valid from and to `days` from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    by = issuer.key if issuer else key
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=may_sign, key_cert_sign=authority), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    certificate = builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    file = folder / f"{name}.crt"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Certified(key, certificate, make_key(folder, name, key, password).key, file)


def _usage(**uses: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
    )
    every = (*names, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: uses.get(name, False) for name in every})


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the JSON of a signature."""
    bundle = json.loads(path.read_text())
    change(bundle)
    path.write_text(json.dumps(bundle))


def resign_payload(path: Path, change: Callable[[Any], Any]) -> None:
    """Change what a signature says that it is over; its signature stays."""

    def change_payload(bundle: Any) -> None:
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        change(statement)
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    rewrite(path, change_payload)


def faults(cli: Cli, release: Path, *arguments: str | Path) -> list[str]:
    """The faults that `verify` names, as `file: reason`; it must fail."""
    result = cli("verify", release, *arguments)
    assert result.exit_code == 1, result.output
    prefix = f"{release}/"
    return [line.removeprefix(prefix) for line in result.stderr.splitlines() if line.startswith(prefix)]
