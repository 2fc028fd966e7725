"""Signs the manifest of a release, in the folder or on its way to the Hub, by the OpenSSF's model-signing.

A private key is decrypted in memory and given to model-signing through a pipe: it is never written anywhere,
and no message quotes a key, a password or what a library says about them.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from synthkit.errors import SignatureError
from synthkit.release.files import MANIFEST, SIGNATURE
from synthkit.release.folder import ReleaseFolder
from synthkit.system.keys import PASSWORD, public_pem, read_private_key
from synthkit.verification.signature import (
    Key,
    check_curve,
    import_model_signing,
    misfit,
    outside_validity,
    read_certificates,
)
from synthkit.verification.verify import refuse_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from synthkit.release.manifest import Manifest


# The environment variable with the password of a private key.


class SigningIdentity(ABC):
    """What signs a manifest; `str(…)` says who it is."""

    def sign(self, manifest: Manifest) -> bytes:
        """Return the content of manifest.json.sig. Raises SignatureError if it cannot be made."""
        content = manifest.to_json()
        with TemporaryDirectory() as folder:
            file, signature = Path(folder) / MANIFEST, Path(folder) / SIGNATURE
            file.write_bytes(content)
            self._sign(import_model_signing().signing.Config(), file, signature)
            made = signature.read_bytes()
        reason = misfit(content, made)
        if reason:
            raise SignatureError(
                f"{SIGNATURE}: {reason}: this version of model-signing writes another format"
            )
        return made

    @abstractmethod
    def _sign(self, config: Any, manifest: Path, signature: Path) -> None:
        """Write the signature of one file into another."""


@dataclass(frozen=True)
class ByKey(SigningIdentity):
    """A private key on an elliptic curve."""

    key: EllipticCurvePrivateKey

    def __str__(self) -> str:
        return str(Key(public_pem(self.key.public_key())))

    def _sign(self, config: Any, manifest: Path, signature: Path) -> None:
        with _pipe(self.key) as private_key:
            config.use_elliptic_key_signer(private_key=private_key).sign(manifest, signature)


@dataclass(frozen=True)
class ByCertificate(SigningIdentity):
    """A private key with the certificate of its public key, and certificates that lead on to an authority."""

    key: EllipticCurvePrivateKey
    path: Path
    certificate: x509.Certificate
    chain: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.certificate.subject.rfc4514_string()}, by {self.path}"

    def _sign(self, config: Any, manifest: Path, signature: Path) -> None:
        # model-signing reads the first certificate of a file as the signer's, and refuses an empty chain. A
        # file's other certificates belong to the chain.
        chain = (self.path, *self.chain)
        with _pipe(self.key) as private_key:
            config.use_certificate_signer(
                private_key=private_key, signing_certificate=self.path, certificate_chain=chain
            ).sign(manifest, signature)


@dataclass(frozen=True)
class BySigstore(SigningIdentity):
    """An identity that Sigstore asks for: of the workflow that runs this, or by a browser."""

    def __str__(self) -> str:
        return "an identity of Sigstore"

    def _sign(self, config: Any, manifest: Path, signature: Path) -> None:
        try:
            config.use_sigstore_signer(use_ambient_credentials=True).sign(manifest, signature)
        except Exception as error:
            raise SignatureError(
                f"--sigstore: no signature was made ({type(error).__name__}); "
                "it needs the network and a login"
            ) from error


def open_identity(
    key: Path | None,
    certificate: Path | None,
    chain: Sequence[Path],
    *,
    sigstore: bool,
    password: Callable[[Path], str | None],
) -> SigningIdentity:
    """Return what signs by the options of a command. Raises SignatureError if it cannot sign.

    `password` is called with the path of an encrypted key; it returns None if there is no password.
    """
    if sigstore and (key or certificate or chain):
        raise SignatureError("--sigstore signs without a key: leave --key, --certificate and --chain out")
    if key is None and not sigstore:
        raise SignatureError("a signature needs --key FILE, a private key, or --sigstore")
    if chain and certificate is None:
        raise SignatureError("--chain leads from a certificate to its authority: name it with --certificate")
    import_model_signing()
    if key is None:
        return BySigstore()
    private_key = _private_key(key, password)
    if certificate is None:
        return ByKey(private_key)
    own = _own_certificate(certificate, private_key)
    for path in chain:
        read_certificates(path, "--chain")
    return ByCertificate(private_key, certificate, own, tuple(chain))


def sign_release(path: Path, identity: SigningIdentity) -> Manifest:
    """Verify a release, sign its manifest and put the signature beside it; a signature there is replaced.

    The release is locked meanwhile. Raises ReleaseError if it is not intact, SignatureError if the identity
    cannot sign.
    """
    release = ReleaseFolder.at(path)
    # Raises if this is not a release: locking writes files.
    release.manifest()
    with release.locked():
        manifest = release.manifest()
        release.check_own(manifest)
        advice = f"it is not signed: run synthkit verify {release.path}"
        refuse_damaged(release.path, manifest, advice, but={SIGNATURE})
        release.add_signature(manifest, identity.sign(manifest))
    return manifest


def _private_key(path: Path, password: Callable[[Path], str | None]) -> EllipticCurvePrivateKey:
    """Read a private key on an elliptic curve. Raises SignatureError if it is anything else."""
    key = read_private_key(path, "--key", password, f"set {PASSWORD}, or run this in a terminal to be asked")
    check_curve(key, f"--key {path}")
    return key  # type: ignore[return-value]


def _own_certificate(path: Path, key: EllipticCurvePrivateKey) -> x509.Certificate:
    """Read the certificate to sign with. Raises SignatureError if nobody would accept its signature."""
    where, certificate = f"--certificate {path}", read_certificates(path, "--certificate")[0]
    public_key = certificate.public_key()
    if public_pem(public_key) != public_pem(key.public_key()):
        raise SignatureError(f"{where}: is the certificate of another key than --key")
    reason = outside_validity(certificate)
    if reason:
        raise SignatureError(f"{where}: {reason}: nobody could tell when the signature was made")
    if not _may_sign(certificate):
        raise SignatureError(
            f"{where}: is not for signing: its uses have neither digital signature nor code signing"
        )
    return certificate


def _may_sign(certificate: x509.Certificate) -> bool:
    """Return whether model-signing accepts signatures by a certificate."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        extensions = certificate.extensions
    except ValueError:
        return False
    try:
        if extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.CODE_SIGNING in uses


@contextmanager
def _pipe(key: EllipticCurvePrivateKey) -> Iterator[Path]:
    """Give a path from which the key can be read once, decrypted: model-signing takes paths, and no keys."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    reader, writer = os.pipe()
    try:
        # A key has less than 1 kB, and a pipe holds at least 4.
        os.write(writer, pem)
        os.close(writer)
        yield Path(f"/dev/fd/{reader}")
    finally:
        os.close(reader)
