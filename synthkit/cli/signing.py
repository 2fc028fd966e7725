"""The options of commands that sign, and of those that ask who has signed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from synthkit.publish.sign import SigningIdentity

KeyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The private key to sign with: PEM, on curve P-256, P-384 or P-521. Its password is asked "
        "for, or read from SYNTHKIT_KEY_PASSWORD.",
        show_default=False,
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The certificate of the key (PEM), to sign by a name.", show_default=False
    ),
]
ChainOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="A certificate between that one and its authority's (PEM). Repeatable.",
        show_default=False,
    ),
]
SigstoreOption = Annotated[
    bool,
    typer.Option(
        "--sigstore",
        help="Sign by an identity at Sigstore instead of a key; its public log shows it for good.",
    ),
]
SignerOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHO",
        help="Who must have signed it: a file with their public key, or with a certificate that vouches for "
        "theirs (PEM); or, with --issuer, their identity at Sigstore, e.g. me@lab.org.",
        show_default=False,
    ),
]
IssuerOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Who says at Sigstore that the identity is theirs, e.g. https://github.com/login/oauth.",
        show_default=False,
    ),
]


def identity_of(
    key: Path | None, certificate: Path | None, chain: list[Path] | None, *, sigstore: bool
) -> SigningIdentity:
    """Return what signs. Raises SignatureError if it cannot."""
    from synthkit.publish.sign import open_identity

    return open_identity(key, certificate, chain or (), sigstore=sigstore, password=_password)


def _password(key: Path) -> str | None:
    """Return the password of a key, from the environment or a terminal; None if there is neither."""
    from getpass import getpass

    from synthkit.system.keys import PASSWORD

    told = os.environ.get(PASSWORD)
    if told or not sys.stdin.isatty():
        return told
    return getpass(f"Password of {key}: ")
