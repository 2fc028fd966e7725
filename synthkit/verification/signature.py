"""Checks who signed a release: the manifest's signature, against a key, a certificate or an identity.

`misfit` needs no key: it says whether a signature is over this very manifest. The cryptography is
model-signing's. Two things differ from what it does by itself. It would leave out of the comparison whatever
a signature tells it to; here the manifest always counts. And it takes a certificate for valid at the moment
when its validity began; here it must be valid now, since nothing proves when a signature was made.
"""

from __future__ import annotations

import hashlib
import io
import logging
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from synthkit.errors import SignatureError
from synthkit.release.files import MANIFEST, SIGNATURE
from synthkit.release.signature import parse_signature
from synthkit.system.keys import public_pem, read_pem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from synthkit.release.signature import Signature

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_NOT_SIGNED = f"is missing: the release is not signed, or its {SIGNATURE} was removed"


def import_model_signing() -> Any:
    """Import and return the module `model_signing`. Raises SignatureError if it is not installed."""
    try:
        import model_signing
    except ImportError:
        raise SignatureError(
            "signatures need model-signing, which is not installed here: in the clone of synthkit, "
            "pip install '.[sign]'"
        ) from None
    return model_signing


def misfit(manifest: bytes, signature: bytes | None) -> str | None:
    """Return why a file is not a signature over this manifest; None if it is one, whosever.

    `manifest` and `signature` are the bytes of the two files.
    """
    if signature is None:
        return _NOT_SIGNED
    said = parse_signature(signature)
    if said is None:
        return "is not a signature as synthkit sign writes it"
    if said.sha256 != hashlib.sha256(manifest).hexdigest():
        return "is a signature over another manifest, not over this one"
    return None


class Signer(ABC):
    """Somebody who must have signed a release; `by` is what they sign with, `str(…)` says who it is."""

    by: ClassVar[str]

    def check(self, manifest: bytes, signature: bytes | None) -> str:
        """Check that they signed a manifest, given as bytes, and return who has signed, in words.

        Raises SignatureError, which says what is wrong with the signature, if they did not.
        """
        reason = misfit(manifest, signature)
        said = None if signature is None else parse_signature(signature)
        if reason or signature is None or said is None:
            raise SignatureError(reason or _NOT_SIGNED)
        if said.by != self.by:
            raise SignatureError(f"is by {said.claim}; asked for was {self}")
        with TemporaryDirectory() as folder:
            files = Path(folder) / MANIFEST, Path(folder) / SIGNATURE
            for file, content in zip(files, (manifest, signature), strict=True):
                file.write_bytes(content)
            return self._check(said, *files)

    @abstractmethod
    def _check(self, said: Signature, manifest: Path, signature: Path) -> str:
        """Do the same for two files whose formats are right and which belong together."""


@dataclass(frozen=True)
class Key(Signer):
    """The holder of a private key, told by the public key."""

    pem: bytes
    by: ClassVar[str] = "key"

    def __str__(self) -> str:
        return f"the key with sha256 {self.sha256}"

    @property
    def sha256(self) -> str:
        """The SHA-256 of the public key as PEM, as in the signature: `openssl pkey -pubin … | sha256sum`."""
        return hashlib.sha256(self.pem).hexdigest()

    def _check(self, said: Signature, manifest: Path, signature: Path) -> str:
        if said.key != self.sha256:
            raise SignatureError(f"is by {said.claim}; asked for was {self}")
        public_key = manifest.with_name("key.pub")
        public_key.write_bytes(self.pem)
        try:
            _verify(
                import_model_signing().verifying.Config().use_elliptic_key_verifier, public_key=public_key
            )(manifest, signature)
        except Exception as error:
            raise SignatureError(f"was not made by {self}, which it names") from error
        return str(self)


@dataclass(frozen=True)
class Authority(Signer):
    """Whoever has a certificate that given ones vouch for: an authority's, or one that signed itself."""

    pem: bytes
    where: str
    by: ClassVar[str] = "certificate"

    def __str__(self) -> str:
        return f"a certificate that {self.where} vouches for"

    def _check(self, said: Signature, manifest: Path, signature: Path) -> str:
        from cryptography import x509

        roots = manifest.with_name("roots.pem")
        roots.write_bytes(self.pem)
        try:
            certificate = x509.load_der_x509_certificate(said.certificate)
            _verify(
                import_model_signing().verifying.Config().use_certificate_verifier, certificate_chain=[roots]
            )(manifest, signature)
            who = certificate.subject.rfc4514_string()
        except Exception as error:
            raise SignatureError(f"is not by {self}") from error
        reason = outside_validity(certificate)
        if reason:
            raise SignatureError(
                f"is by {who}, whose certificate {reason}, and nothing says when it was made"
            )
        return f"{who}, by a certificate that is valid until {certificate.not_valid_after_utc:%Y-%m-%d}"


@dataclass(frozen=True)
class Identity(Signer):
    """Somebody known to Sigstore: an e-mail address or a workflow, and who says that it is theirs."""

    identity: str
    issuer: str
    by: ClassVar[str] = "sigstore"

    def __str__(self) -> str:
        return f"{self.identity}, as {self.issuer} says"

    def _check(self, said: Signature, manifest: Path, signature: Path) -> str:
        configure = import_model_signing().verifying.Config().use_sigstore_verifier
        try:
            verify = _verify(configure, identity=self.identity, oidc_issuer=self.issuer)
        except Exception as error:
            raise SignatureError(
                f"cannot be checked: Sigstore's own keys cannot be fetched ({type(error).__name__})"
            ) from error
        try:
            verify(manifest, signature)
        except Exception as error:
            raise SignatureError(f"is not by {self}") from error
        return str(self)


def asked_signer(signer: str | None, issuer: str | None) -> Signer | None:
    """Return who must have signed, if a user says so. Raises SignatureError if nobody can be meant."""
    if signer is None and issuer is not None:
        raise SignatureError("--issuer says who vouches for an identity: name that with --signer")
    return None if signer is None else read_signer(signer, issuer)


def read_signer(told: str, issuer: str | None) -> Signer:
    """Return the signer that a user names: a PEM file, or with an issuer an identity of Sigstore.

    Raises SignatureError if the file is not a public key or certificates, or model-signing is not installed.
    """
    import_model_signing()
    if issuer is not None:
        return Identity(told, issuer)
    path = Path(told)
    if not path.is_file():
        raise SignatureError(
            f"--signer {told}: there is no such file: name a public key or a certificate (PEM), or an "
            "identity of Sigstore together with --issuer"
        )
    pem = read_pem(path, "--signer")
    if b"PRIVATE KEY-----" in pem:
        raise SignatureError(f"--signer {path}: is a private key: name the public one, and keep this secret")
    if b"-----BEGIN CERTIFICATE-----" in pem:
        read_certificates(path, "--signer")
        return Authority(pem, str(path))
    return Key(_public_key(path, pem))


def read_certificates(path: Path, option: str) -> list[x509.Certificate]:
    """Return the certificates in a PEM file, at least one. Raises SignatureError if it has none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(read_pem(path, option))
    except ValueError:
        raise SignatureError(f"{option} {path}: is not a certificate (PEM)") from None


def outside_validity(certificate: x509.Certificate) -> str | None:
    """Return that a certificate expired, or is not valid yet, and when; None if it is valid now."""
    now, last = datetime.now(UTC), certificate.not_valid_after_utc
    if now > last:
        return f"expired on {last:%Y-%m-%d}"
    first = certificate.not_valid_before_utc
    return f"is not valid before {first:%Y-%m-%d}" if now < first else None


def kind_of_key(key: object) -> str:
    """Return the kind of a key in words: `a key of kind RSA`, `a key of curve P-256`."""
    curve = getattr(key, "curve", None)
    kind = type(key).__name__.strip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    return (
        f"a key of curve {CURVES.get(curve.name, curve.name)}"
        if curve is not None
        else f"a key of kind {kind}"
    )


def check_curve(key: object, where: str) -> None:
    """Raise SignatureError, which begins with `where`, unless model-signing knows the key's curve."""
    curve = getattr(key, "curve", None)
    if curve is None or curve.name not in CURVES:
        raise SignatureError(
            f"{where}: is {kind_of_key(key)}; model-signing takes elliptic curves P-256, P-384 and P-521"
        )


def _public_key(path: Path, pem: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise SignatureError(f"--signer {path}: is neither a public key nor a certificate (PEM)") from None
    check_curve(key, f"--signer {path}")
    return public_pem(key)


def _verify(configure: Any, **settings: Any) -> Any:
    """Return a function that verifies a manifest's file by a signature's, and raises if it is not so.

    `configure` is a method of model-signing's configuration, given `settings`.
    """
    from model_signing import hashing

    class _WholeFile(hashing.Config):  # type: ignore[misc]
        """A configuration that hashes a file even if the signature says that it shall be ignored."""

        def add_ignored_paths(self, **_: Any) -> None:
            pass

    with _silent():
        config = configure(**settings).set_hashing_config(_WholeFile())

    def verify(manifest: Path, signature: Path) -> None:
        with _silent():
            config.verify(manifest, signature)

    return verify


@contextmanager
def _silent() -> Iterator[None]:
    """Keep model-signing from printing, logging and warning: a stranger's signature can make it do so."""
    logger = logging.getLogger("model_signing")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
