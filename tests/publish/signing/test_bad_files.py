"""Keys, certificates and signatures that are not what they should be, and options that do not fit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from synthkit.release.signature import MAX_BYTES
from tests.conftest import Cli
from tests.helpers.commands import error_of, output_of
from tests.helpers.signing import SIGNATURE, KeyPair, certify, faults, make_key, rewrite

INSTALL = (
    "error: signatures need model-signing, which is not installed here: in the clone of synthkit, "
    "pip install '.[sign]'"
)


def garbage(folder: Path, name: str) -> Path:
    """A file of one kind."""
    path = folder / f"{name}.file"
    match name:
        case "public key":
            return make_key(folder, "x").pub
        case "certificate":
            return certify(folder, "x").file
        case "RSA":
            return make_key(folder, "x", rsa.generate_private_key(65537, 2048)).key
        case "Ed25519":
            return make_key(folder, "x", ed25519.Ed25519PrivateKey.generate()).key
        case "secp256k1":
            return make_key(folder, "x", ec.generate_private_key(ec.SECP256K1())).key
        case "cut":
            path.write_bytes(make_key(folder, "x").key.read_bytes()[:100])
        case "text":
            path.write_text("my key is under the mat")
        case "large":
            path.write_text("-----BEGIN PRIVATE KEY-----" + "A" * (1 << 20))
        case "folder":
            path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("public key", "is a public key; signing takes the private key (PEM)"),
        ("certificate", "is a certificate; signing takes the private key (PEM)"),
        ("RSA", "is a key of kind RSA; model-signing takes elliptic curves P-256, P-384 and P-521"),
        ("Ed25519", "is a key of kind Ed25519; model-signing takes elliptic curves P-256, P-384 and P-521"),
        (
            "secp256k1",
            "is a key of curve secp256k1; model-signing takes elliptic curves P-256, P-384 and P-521",
        ),
        ("cut", "is not a private key that can be read (PEM)"),
        ("text", "is not a PEM file, which begins with -----BEGIN"),
        ("large", "is not a PEM file, which begins with -----BEGIN"),
        ("folder", "cannot be read: Is a directory"),
        ("missing", "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_key_to_sign_with(
    cli: Cli, copy: Path, tmp_path: Path, name: str, reason: str
) -> None:
    path = garbage(tmp_path, name)
    assert error_of(cli, "sign", copy, "--key", path) == f"error: --key {path}: {reason}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RSA", "is a private key: name the public one, and keep this secret"),
        ("text", "is not a PEM file, which begins with -----BEGIN"),
        (
            "missing",
            "there is no such file: name a public key or a certificate (PEM), or an identity of Sigstore",
        ),
    ],
)
def test_a_file_that_is_no_signer(cli: Cli, copy: Path, tmp_path: Path, name: str, reason: str) -> None:
    path = garbage(tmp_path, name)
    assert error_of(cli, "verify", copy, "--signer", path).startswith(f"error: --signer {path}: {reason}")


def test_public_keys_that_no_signature_is_by(cli: Cli, copy: Path, tmp_path: Path) -> None:
    pub = make_key(tmp_path, "x", rsa.generate_private_key(65537, 2048)).pub
    assert error_of(cli, "verify", copy, "--signer", pub).startswith(
        f"error: --signer {pub}: is a key of kind RSA"
    )
    for kind in ("CERTIFICATE", "PUBLIC KEY", "NONSENSE"):
        pub.write_text(f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n")
        assert f"error: --signer {pub}: is n" in error_of(cli, "verify", copy, "--signer", pub)


def test_certificates_that_cannot_sign(cli: Cli, copy: Path, tmp_path: Path, lab: KeyPair) -> None:
    leaf, idle = certify(tmp_path, "Leaf"), certify(tmp_path, "Idle", may_sign=False)
    assert error_of(cli, "sign", copy, "--key", lab.key, "--certificate", leaf.file).endswith(
        "is the certificate of another key than --key"
    )
    assert "is not for signing" in error_of(
        cli, "sign", copy, "--key", idle.key_file, "--certificate", idle.file
    )
    for option in ("--certificate", "--chain"):
        words = ["--key", leaf.key_file, "--certificate", leaf.file, option, lab.pub]
        line = error_of(cli, "sign", copy, *words)
        assert line == f"error: {option} {lab.pub}: is not a certificate (PEM)"


def test_options_that_do_not_go_together(cli: Cli, copy: Path, lab: KeyPair) -> None:
    assert "needs --key FILE" in error_of(cli, "sign", copy)
    assert "leave --key" in error_of(cli, "sign", copy, "--sigstore", "--key", lab.key)
    assert "name it with --certificate" in error_of(cli, "sign", copy, "--key", lab.key, "--chain", lab.pub)
    assert "name that with --signer" in error_of(cli, "verify", copy, "--issuer", "https://idp.org")
    assert "add --sign" in error_of(cli, "publish", copy, "lab/x", "--key", lab.key)


def test_without_the_package_one_line_says_how_to_get_it(
    cli: Cli, copy: Path, lab: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    assert error_of(cli, "sign", copy, "--key", lab.key) == INSTALL
    assert error_of(cli, "verify", copy, "--signer", lab.pub) == INSTALL
    assert error_of(cli, "publish", copy, "lab/x", "--sign", "--key", lab.key) == INSTALL
    assert "Not signed" in output_of(cli, "verify", copy)


def test_a_signed_release_needs_no_package_to_be_read(
    cli: Cli, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    assert "It has a signature" in output_of(cli, "verify", signed)
    output_of(cli, "show", signed)


NESTED = "[" * 100_000
SPELT_TWICE = {"verification_material": {}}


@pytest.mark.parametrize(
    "content",
    [b"", b"secret", NESTED.encode(), b"\xff\xfe", b"{}", b" " * (MAX_BYTES + 1)],
    ids=["empty", "text", "nested", "binary", "bare", "large"],
)
def test_a_file_that_is_no_signature(cli: Cli, copy: Path, lab: KeyPair, content: bytes) -> None:
    (copy / SIGNATURE).write_bytes(content)
    for words in ((), ("--signer", lab.pub)):
        assert faults(cli, copy, *words) == [f"{SIGNATURE}: is not a signature as synthkit sign writes it"]
    assert f"{SIGNATURE} is not one" in output_of(cli, "show", copy)


def test_a_signature_with_room_for_something_else(cli: Cli, signed: Path) -> None:
    whole = (signed / SIGNATURE).read_bytes()
    changes: list[Any] = [
        lambda it: it.update(verification_material={}),
        lambda it: it.update(messageSignature={}),
        lambda it: it["verificationMaterial"].update(certificate={"rawBytes": ""}),
        lambda it: it["dsseEnvelope"]["signatures"].append({"sig": "", "keyid": ""}),
        lambda it: it["verificationMaterial"].update(publicKey={"hint": "\x1b[31m"}),
    ]
    for change in changes:
        (signed / SIGNATURE).write_bytes(whole)
        rewrite(signed / SIGNATURE, change)
        assert faults(cli, signed) == [f"{SIGNATURE}: is not a signature as synthkit sign writes it"]


def test_what_bears_the_name_and_is_no_file(cli: Cli, copy: Path, lab: KeyPair) -> None:
    path = copy / SIGNATURE
    path.symlink_to("/nowhere")
    assert faults(cli, copy) == [f"{SIGNATURE}: is not in the manifest"]
    path.unlink()
    os.mkfifo(path)
    assert f"{SIGNATURE}: is not in the manifest" in faults(cli, copy, "--signer", lab.pub)
    path.unlink()
    (copy / f"{SIGNATURE}.bak").write_text("x")
    assert faults(cli, copy) == [f"{SIGNATURE}.bak: is not in the manifest"]


def test_a_link_to_a_private_file_shows_nothing_of_it(cli: Cli, copy: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("a secret")
    (copy / SIGNATURE).symlink_to(tmp_path / "private.txt")
    for command in ("verify", "show"):
        assert "secret" not in cli(command, copy).output


def test_a_damaged_release_is_not_signed(cli: Cli, copy: Path, lab: KeyPair) -> None:
    (copy / "README.md").write_text("changed")
    assert "it is not signed: run synthkit verify" in cli("sign", copy, "--key", lab.key).output
    assert not (copy / SIGNATURE).exists()
