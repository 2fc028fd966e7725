"""Signatures: made with keys and certificates of the test's own, checked, and told from all others."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from synthkit.cli import signing as options
from synthkit.release.files import MANIFEST
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import read_manifest
from synthkit.verification.signature import Identity, read_signer
from tests.conftest import Cli, digests
from tests.helpers.commands import error_of, output_of
from tests.helpers.forging import repaint
from tests.helpers.signing import SIGNATURE, KeyPair, certify, faults, make_key, resign_payload, rewrite


def paint(image: bytes) -> bytes:
    """Another image of the same size."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(image)) as old:
        other = Image.new("RGB", old.size, (1, 2, 3))
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", old.info["XML:com.adobe.xmp"])
        other.save(stream, "png", pnginfo=info)
    return stream.getvalue()


# --- made and checked ----------------------------------------------------------------------------------


def test_a_signature_is_one_file_more_and_every_other_byte_stays(cli: Cli, copy: Path, lab: KeyPair) -> None:
    before = digests(copy)
    told = output_of(cli, "sign", copy, "--key", lab.key)
    assert f"small 1.2.3 is signed by the key with sha256 {lab.sha256}" in told
    after = digests(copy)
    assert after.pop(SIGNATURE)
    assert after == before
    assert {path.name for path in copy.parent.iterdir()} == {"lab.pem", "lab.pub", "small"}
    told = output_of(cli, "verify", copy, "--signer", lab.pub)
    assert told.splitlines()[-1] == f"Signed by the key with sha256 {lab.sha256}"
    assert "9 files" in told


def test_any_tool_that_knows_the_format_can_check_it(signed: Path, lab: KeyPair) -> None:
    import model_signing

    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=lab.pub)
    config.verify(signed / MANIFEST, signed / SIGNATURE)
    (signed / MANIFEST).write_bytes(b"{}")
    with pytest.raises(ValueError, match="mismatch"):
        config.verify(signed / MANIFEST, signed / SIGNATURE)


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves(cli: Cli, copy: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    pair = make_key(tmp_path, "big", ec.generate_private_key(curve))
    output_of(cli, "sign", copy, "--key", pair.key)
    assert f"Signed by the key with sha256 {pair.sha256}" in output_of(
        cli, "verify", copy, "--signer", pair.pub
    )


def test_signing_again_replaces_the_signature(cli: Cli, signed: Path, tmp_path: Path) -> None:
    other = make_key(tmp_path, "other")
    output_of(cli, "sign", signed, "--key", other.key)
    assert "Signed by" in output_of(cli, "verify", signed, "--signer", other.pub)
    (signed / SIGNATURE).write_text("not one")
    output_of(cli, "sign", signed, "--key", other.key)
    assert "Signed by" in output_of(cli, "verify", signed, "--signer", other.pub)


def test_a_certificate_says_a_name(
    cli: Cli, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = certify(tmp_path, "Root", authority=True)
    middle = certify(tmp_path, "Middle", root, authority=True)
    leaf = certify(tmp_path, "Flower Lab", middle, password="tulip")
    monkeypatch.setenv("SYNTHKIT_KEY_PASSWORD", "tulip")
    words = ["--key", leaf.key_file, "--certificate", leaf.file, "--chain", middle.file]
    assert "is signed by CN=Flower Lab" in output_of(cli, "sign", copy, *words)
    until = f"{leaf.certificate.not_valid_after_utc:%Y-%m-%d}"
    told = output_of(cli, "verify", copy, "--signer", root.file, "--report", tmp_path / "report.json")
    assert told.splitlines()[-1] == f"Signed by CN=Flower Lab, by a certificate that is valid until {until}"
    assert json.loads((tmp_path / "report.json").read_text())["signer"].startswith("CN=Flower Lab")
    # Without the one between, nothing leads from the leaf to the root.
    output_of(cli, "sign", copy, *words[:4])
    assert faults(cli, copy, "--signer", root.file) == [
        f"{SIGNATURE}: is not by a certificate that {root.file} vouches for"
    ]


def test_a_certificate_that_signed_itself_vouches_for_itself(cli: Cli, copy: Path, tmp_path: Path) -> None:
    own = certify(tmp_path, "Own")
    output_of(cli, "sign", copy, "--key", own.key_file, "--certificate", own.file)
    assert "Signed by CN=Own" in output_of(cli, "verify", copy, "--signer", own.file)


def test_a_password_comes_from_the_environment_or_is_asked_for(
    cli: Cli, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make_key(tmp_path, "locked", password="tulip")
    line = error_of(cli, "sign", copy, "--key", pair.key)
    assert "has a password: set SYNTHKIT_KEY_PASSWORD" in line
    monkeypatch.setenv("SYNTHKIT_KEY_PASSWORD", "rose-petal")
    line = error_of(cli, "sign", copy, "--key", pair.key)
    assert line.endswith("its password is another one") and "rose-petal" not in line
    monkeypatch.setenv("SYNTHKIT_KEY_PASSWORD", "tulip")
    assert "tulip" not in output_of(cli, "sign", copy, "--key", pair.key)
    monkeypatch.delenv("SYNTHKIT_KEY_PASSWORD")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "tulip" if str(pair.key) in prompt else "")
    assert options._password(pair.key) == "tulip"


# --- what a release without a checked signature says ---------------------------------------------------


def test_without_a_signature_verify_says_what_cannot_be_told(cli: Cli, copy: Path, lab: KeyPair) -> None:
    told = output_of(cli, "verify", copy).splitlines()[-1]
    assert told.startswith(
        "Not signed: whoever can change all files can forge a release that is as consistent"
    )
    assert f"synthkit replay {copy} --sample 8" in told
    assert faults(cli, copy, "--signer", lab.pub) == [
        f"{SIGNATURE}: is missing: the release is not signed, or its {SIGNATURE} was removed"
    ]


def test_a_signature_that_nobody_checked_is_only_told_of(cli: Cli, signed: Path, lab: KeyPair) -> None:
    said = f"says it is by the key with sha256 {lab.sha256}"
    assert said in output_of(cli, "verify", signed).splitlines()[-1]
    assert f"signature    {SIGNATURE} {said}" in " ".join(output_of(cli, "show", signed).split("\n"))
    assert "signature" not in output_of(cli, "show", signed, "000000003")


def test_diff_sees_no_signature(cli: Cli, flat_release: Path, signed: Path) -> None:
    assert output_of(cli, "diff", flat_release, signed, "--json") == output_of(
        cli, "diff", flat_release, flat_release, "--json"
    )


# --- forged, swapped, by others ------------------------------------------------------------------------


def test_a_forged_release_keeps_its_consistency_and_loses_its_signer(
    cli: Cli, signed: Path, lab: KeyPair, tmp_path: Path
) -> None:
    repaint(signed, "000000003", paint)
    another = f"{SIGNATURE}: is a signature over another manifest, not over this one"
    assert faults(cli, signed) == [another]
    assert faults(cli, signed, "--signer", lab.pub) == [another]
    forger = make_key(tmp_path, "forger")
    (signed / SIGNATURE).unlink()
    assert "is intact" in output_of(cli, "verify", signed)
    output_of(cli, "sign", signed, "--key", forger.key)
    assert "is intact" in output_of(cli, "verify", signed)
    assert faults(cli, signed, "--signer", lab.pub) == [
        f"{SIGNATURE}: is by the key with sha256 {forger.sha256}; "
        f"asked for was the key with sha256 {lab.sha256}"
    ]
    # A forger can write any name into the file.
    rewrite(signed / SIGNATURE, lambda it: it["verificationMaterial"]["publicKey"].update(hint=lab.sha256))
    assert faults(cli, signed, "--signer", lab.pub) == [
        f"{SIGNATURE}: was not made by the key with sha256 {lab.sha256}, which it names"
    ]


def test_a_signature_says_what_it_signed(cli: Cli, signed: Path, lab: KeyPair) -> None:
    """The lab's own signature, made to name the forged manifest, is no longer the lab's."""
    repaint(signed, "000000003", paint)
    digest = hashlib.sha256((signed / MANIFEST).read_bytes()).hexdigest()

    def name_the_forged(statement: Any) -> None:
        statement["predicate"]["resources"][0]["digest"] = digest

    resign_payload(signed / SIGNATURE, name_the_forged)
    assert "is intact" in output_of(cli, "verify", signed)
    assert faults(cli, signed, "--signer", lab.pub) == [
        f"{SIGNATURE}: was not made by the key with sha256 {lab.sha256}, which it names"
    ]


def test_the_signature_of_another_release(cli: Cli, signed: Path, lab: KeyPair, tmp_path: Path) -> None:
    output_of(cli, "build", cli.recipe("version: 1.3.0"), "--set", "model.id=builtin:flat-colours")
    other = tmp_path / "releases" / "small"
    shutil.copy(signed / SIGNATURE, other / SIGNATURE)
    for words in ((), ("--signer", lab.pub)):
        assert faults(cli, other, *words) == [
            f"{SIGNATURE}: is a signature over another manifest, not over this one"
        ]


def test_a_signature_over_no_file_or_a_folder(cli: Cli, signed: Path, lab: KeyPair, tmp_path: Path) -> None:
    """What the right key signed elsewhere is not taken for the manifest, whatever it asks to ignore."""
    import model_signing

    (tmp_path / "folder").mkdir()
    for names in ((), ("a.txt",), ("a.txt", "b.txt")):
        for name in names:
            (tmp_path / "folder" / name).write_text(name)
        config = model_signing.signing.Config().use_elliptic_key_signer(private_key=lab.key)
        config.set_hashing_config(model_signing.hashing.Config().set_ignored_paths(paths=["."]))
        config.sign(tmp_path / "folder", signed / SIGNATURE)
        assert faults(cli, signed, "--signer", lab.pub) == [
            f"{SIGNATURE}: is not a signature as synthkit sign writes it"
        ]


def test_signers_of_other_kinds(cli: Cli, signed: Path, lab: KeyPair, tmp_path: Path) -> None:
    root, stranger = certify(tmp_path, "Root", authority=True), certify(tmp_path, "Stranger", authority=True)
    is_by = f"{SIGNATURE}: is by the key with sha256 {lab.sha256}; asked for was"
    assert faults(cli, signed, "--signer", root.file) == [
        f"{is_by} a certificate that {root.file} vouches for"
    ]
    assert faults(cli, signed, "--signer", "me@lab.org", "--issuer", "https://idp.org") == [
        f"{is_by} me@lab.org, as https://idp.org says"
    ]
    leaf = certify(tmp_path, "Leaf", root)
    output_of(cli, "sign", signed, "--key", leaf.key_file, "--certificate", leaf.file)
    assert faults(cli, signed, "--signer", stranger.file) == [
        f"{SIGNATURE}: is not by a certificate that {stranger.file} vouches for"
    ]
    assert faults(cli, signed, "--signer", lab.pub) == [
        f"{SIGNATURE}: is by the key of a certificate; asked for was the key with sha256 {lab.sha256}"
    ]


@pytest.mark.parametrize(
    ("days", "reason"),
    [((-9, -2), "expired on "), ((3, 9), "is not valid before ")],
    ids=["expired", "early"],
)
def test_a_certificate_out_of_its_time(
    cli: Cli, signed: Path, tmp_path: Path, days: tuple[int, int], reason: str
) -> None:
    """model-signing itself accepts both: it takes each certificate for valid when its time began."""
    import model_signing

    root = certify(tmp_path, "Root", authority=True, days=(-30, 30))
    leaf = certify(tmp_path, "Leaf", root, days=days)
    assert reason in error_of(cli, "sign", signed, "--key", leaf.key_file, "--certificate", leaf.file)
    model_signing.signing.Config().use_certificate_signer(
        private_key=leaf.key_file, signing_certificate=leaf.file, certificate_chain=[leaf.file]
    ).sign(signed / MANIFEST, signed / SIGNATURE)
    (line,) = faults(cli, signed, "--signer", root.file)
    assert line.startswith(f"{SIGNATURE}: is by CN=Leaf, whose certificate {reason}")


# --- what changes the manifest drops the signature, and says so ----------------------------------------


def test_a_build_that_replaces_a_signed_release_says_so(
    cli: Cli, copy: Path, lab: KeyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    flat = ("--set", "model.id=builtin:flat-colours")
    output_of(cli, "build", cli.recipe(), *flat)
    release = cli.folder / "releases" / "small"
    output_of(cli, "sign", release, "--key", lab.key)
    assert "up to date" in output_of(cli, "build", "recipe.yaml", *flat)
    assert (release / SIGNATURE).exists()
    output_of(cli, "build", "recipe.yaml", *flat, "--set", "summary=Another card.")
    assert not (release / SIGNATURE).exists()
    assert (
        f"{Path('releases/small')}: was signed; the release that took its place is not"
        in capfd.readouterr().err
    )


def test_an_audit_drops_the_signature_and_says_so(cli: Cli, signed: Path) -> None:
    told = output_of(cli, "audit", signed).splitlines()[-1]
    assert told == "The manifest states the audit now, so its signature was removed; sign it again"
    assert not (signed / SIGNATURE).exists()
    assert "removed" not in output_of(cli, "audit", signed)


def test_a_release_that_changed_meanwhile_gets_no_signature(copy: Path) -> None:
    manifest = read_manifest(copy)
    ReleaseFolder(copy).amend(manifest, manifest, {"README.md": b"another card"})
    with pytest.raises(Exception, match="was replaced meanwhile"):
        ReleaseFolder(copy).add_signature(manifest, b"")
    assert not (copy / SIGNATURE).exists()


# --- Sigstore: what is asked of it; nothing here can reach it ------------------------------------------


def test_an_identity_needs_an_issuer() -> None:
    assert read_signer("me@lab.org", "https://idp.org") == Identity("me@lab.org", "https://idp.org")


def as_by_sigstore(path: Path) -> None:
    """Make a signature say that Sigstore's certificate is in it."""

    def change(bundle: Any) -> None:
        bundle["verificationMaterial"] = {"certificate": {"rawBytes": ""}, "tlogEntries": [{"logIndex": "1"}]}

    rewrite(path, change)


def test_sigstore_is_asked_for_the_identity_and_the_issuer(
    cli: Cli, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import model_signing

    as_by_sigstore(signed / SIGNATURE)
    asked: list[dict[str, str]] = []
    config = model_signing.verifying.Config

    def record(self: Any, **settings: str) -> Any:
        asked.append(settings)
        raise OSError("no network")

    monkeypatch.setattr(config, "use_sigstore_verifier", record)
    words = ("--signer", "me@lab.org", "--issuer", "https://idp.org")
    assert faults(cli, signed, *words) == [
        f"{SIGNATURE}: cannot be checked: Sigstore's own keys cannot be fetched (OSError)"
    ]
    assert asked == [{"identity": "me@lab.org", "oidc_issuer": "https://idp.org"}]
    assert "an identity of Sigstore" in output_of(cli, "verify", signed)


def test_signing_without_sigstore_at_hand(cli: Cli, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import model_signing

    def refuse(self: Any, **settings: Any) -> Any:
        assert settings == {"use_ambient_credentials": True}
        raise OSError("no network")

    monkeypatch.setattr(model_signing.signing.Config, "use_sigstore_signer", refuse)
    assert "--sigstore: no signature was made (OSError)" in cli("sign", copy, "--sigstore").output
    assert not (copy / SIGNATURE).exists()
