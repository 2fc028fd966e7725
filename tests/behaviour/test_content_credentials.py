"""Images signed as C2PA manifests: readers of C2PA take them, and a build gives the same bytes each time."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from synthkit.release.embedded_manifest import embed_manifest, without_manifest
from synthkit.release.image_header import read_header
from tests.conftest import FLAT, Cli, read_member
from tests.helpers.forging import Forgery, faults_of, image_files
from tests.helpers.signing import Certified, certify

GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
FEW = (*FLAT, "--limit", "3")
EMAIL = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
GROWN = ("--set", "version=1.3.0", "--set", "grown=[12]", "--set", "target_per_class=15")
UNTRUSTED = "signingCredential.untrusted"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signer's certificate and key, and a release of three images in each format."""
    cli = Cli(tmp_path_factory.mktemp("lab"))
    sign(cli.folder)
    for name in FORMATS:
        result = cli(
            "build", cli.recipe(), *FEW, *signing(cli.folder), f"--set=output.format={name}", "--out", name
        )
        assert result.exit_code == 0, result.output
    return cli.folder


def sign(folder: Path, name: str = "signer", **options: Any) -> Certified:
    """Write NAME.crt, a chain from an authority, and NAME.pem, its key."""
    authority = certify(folder, f"{name}-authority", authority=True, key=ed25519.Ed25519PrivateKey.generate())
    options = {"key": ed25519.Ed25519PrivateKey.generate(), "purposes": EMAIL, **options}
    signer = certify(folder, name, authority, **options)
    signer.file.write_bytes(signer.file.read_bytes() + authority.file.read_bytes())
    return signer


def signing(folder: Path, name: str = "signer") -> tuple[str, ...]:
    files = {"certificate": folder / f"{name}.crt", "key": folder / f"{name}.pem"}
    return tuple(f"--set=output.c2pa.{field}={path}" for field, path in files.items())


def told(image: bytes, form: str, authority: Path | None = None) -> dict[str, Any]:
    """What c2pa-python's reader says of an image; an authority is one to trust."""
    trust = {"trust": {"trust_anchors": authority.read_text()}} if authority else {}
    with (
        c2pa.Context.from_dict({"verify": {"remote_manifest_fetch": False}, **trust}) as context,
        c2pa.Reader(f"image/{form}", io.BytesIO(image), context=context) as reader,
    ):
        return json.loads(reader.json())  # type: ignore[no-any-return]


def release_of(lab: Path, form: str) -> Path:
    return lab / form / "small-preview"


@pytest.mark.parametrize("form", FORMATS)
def test_a_reader_of_c2pa_finds_nothing_but_an_unknown_signer(lab: Path, form: str) -> None:
    release = release_of(lab, form)
    for name, image in image_files(release).items():
        said = told(image, form)
        assert said["validation_state"] == "Valid"
        assert [item["code"] for item in said["validation_status"]] == [UNTRUSTED]
        manifest = said["manifests"][said["active_manifest"]]
        record = json.loads(read_member(release / "data/train-00000.tar", f"{name[:9]}.json"))
        assert manifest["title"] == name
        assert manifest["signature_info"]["alg"] == "Ed25519"
        assert manifest["signature_info"]["common_name"] == "signer"
        (actions,) = (item["data"] for item in manifest["assertions"] if item["label"] == "c2pa.actions.v2")
        (action,) = actions["actions"]
        assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", GENERATED)
        assert action["softwareAgent"] == {"name": record["model"], "version": record["revision"]}
        assert [(item["title"], item["instance_id"]) for item in manifest["ingredients"]] == [
            (source["id"], f"nih:sha-256;{source['sha256']}") for source in record["sources"]
        ]
        assert len(action["parameters"]["ingredients"]) == len(record["sources"]) == 2


def test_images_whose_records_a_second_pass_completes_are_signed_as_they_are_then(lab: Path) -> None:
    cli = Cli(lab)
    gate = "--set=filters={near_duplicate: {max_similarity: 0.9}}"
    few = (*FLAT, "--limit", "6", "--set=conditioning.method=text-only", "--set=output.format=webp")
    built = cli("build", cli.recipe(), *few, gate, *signing(lab), "--out", "distinct")
    assert built.exit_code == 0, built.output
    release = lab / "distinct" / "small-preview"
    assert cli("verify", release, "--deep").exit_code == 0
    for image in image_files(release).values():
        assert told(image, "webp")["validation_state"] == "Valid"


def test_a_reader_that_trusts_the_authority_trusts_the_images(lab: Path) -> None:
    for form in FORMATS:
        image = next(iter(image_files(release_of(lab, form)).values()))
        said = told(image, form, lab / "signer-authority.crt")
        assert (said["validation_state"], said.get("validation_status", [])) == ("Trusted", [])


def test_a_reader_finds_a_changed_pixel(lab: Path) -> None:
    image = bytearray(next(iter(image_files(release_of(lab, "jpeg")).values())))
    image[-10] ^= 1
    said = told(bytes(image), "jpeg")
    assert said["validation_state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in [item["code"] for item in said["validation_status"]]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_recipe_and_key_give_the_same_bytes(cli: Cli, lab: Path, form: str) -> None:
    # The files lie at another place.
    for name in ("signer.crt", "signer.pem"):
        shutil.copy(lab / name, cli.folder / f"my-{name}")
    result = cli(
        "build", cli.recipe(), *FEW, *signing(cli.folder, "my-signer"), f"--set=output.format={form}"
    )
    assert result.exit_code == 0, result.output
    assert bytes_of(cli.folder / "releases/small-preview") == bytes_of(release_of(lab, form))


def bytes_of(release: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(release)): path.read_bytes() for path in release.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("form", FORMATS)
def test_verify_checks_the_signatures_and_replay_needs_no_key(cli: Cli, lab: Path, form: str) -> None:
    copy = Path(shutil.copytree(release_of(lab, form), cli.folder / "copy"))
    result = cli("verify", copy, "--deep")
    assert result.exit_code == 0, result.output
    manifest = json.loads((copy / "manifest.json").read_text())
    assert (
        f"Each image is signed (C2PA) by {manifest['c2pa']['subject']}, with the certificate" in result.output
    )
    result = cli("replay", copy, "0", "2")
    assert result.exit_code == 0, result.output
    assert "2 of 2 identical" in result.output
    shown = cli("show", copy)
    assert "CN=signer" in shown.output


def test_a_p_256_key_signs_the_same_each_time_too(cli: Cli) -> None:
    sign(cli.folder, key=ec.generate_private_key(ec.SECP256R1()))
    for out in ("one", "two"):
        result = cli("build", cli.recipe(), *FEW, *signing(cli.folder), "--out", out)
        assert result.exit_code == 0, result.output
    one, two = (bytes_of(cli.folder / out / "small-preview") for out in ("one", "two"))
    assert one == two
    for image in image_files(cli.folder / "one/small-preview").values():
        assert [item["code"] for item in told(image, "png")["validation_status"]] == [UNTRUSTED]
    assert cli("verify", cli.folder / "one/small-preview").exit_code == 0


def test_no_file_of_a_release_or_a_build_holds_a_path_or_the_key(lab: Path) -> None:
    key = (lab / "signer.pem").read_text().splitlines()[1].encode()
    looked = [
        path for path in lab.rglob("*") if path.is_file() and path.suffix not in (".pem", ".crt", ".pub")
    ]
    assert any(path.name == "build.jsonl" for path in looked)
    for path in looked:
        content = path.read_bytes()
        assert b"signer.pem" not in content, path
        assert b"signer.crt" not in content, path
        assert key not in content, path


def test_the_certificate_decides_images_and_the_key_file_does_not(cli: Cli, lab: Path) -> None:
    def digest(*settings: str) -> Any:
        result = cli("digest", cli.recipe(), *FLAT, *settings)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["digest"]

    sign(cli.folder, "other")
    signed, unsigned = digest(*signing(lab)), digest()
    assert digest(signing(lab)[0]) == signed != unsigned
    assert digest(*signing(cli.folder, "other")) not in (signed, unsigned)


def test_a_signed_release_grows_with_its_own_certificate_alone(cli: Cli, lab: Path) -> None:
    sign(cli.folder, "other")
    recipe, releases = cli.recipe(), cli.folder / "releases"
    settings = (*FLAT, *signing(lab))
    assert cli("build", recipe, *settings).exit_code == 0
    old = bytes_of(releases / "small")
    result = cli("build", recipe, *FLAT, *signing(cli.folder, "other"), *GROWN)
    assert result.exit_code == 1
    assert "output.c2pa.fingerprints is ['" in result.output
    result = cli("build", recipe, *settings, *GROWN)
    assert result.exit_code == 0, result.output
    new = bytes_of(releases / "small")
    assert {name for name in old if name.startswith("data/")} == {
        name for name in old if name.startswith("data/") and new[name] == old[name]
    }
    assert cli("verify", releases / "small").exit_code == 0


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_verify_finds_images_that_others_signed_and_images_that_nobody_did(
    cli: Cli, lab: Path, form: str
) -> None:
    extension = FORMATS[form]
    copy = Path(shutil.copytree(release_of(lab, form), cli.folder / "copy"))
    forgery = Forgery.of(copy)
    manifest = read_header(forgery.shards["data/train-00000.tar"][0][1], extension).c2pa
    assert manifest is not None

    def by_another(image: bytes) -> bytes:
        mine = read_header(image, extension).c2pa or b""
        bare = without_manifest(image, extension, mine)
        return embed_manifest(bare, extension, mine[:-64] + bytes(64)).file

    def by_nobody(image: bytes) -> bytes:
        return without_manifest(image, extension, read_header(image, extension).c2pa or b"")

    def of_another_image(image: bytes) -> bytes:
        return embed_manifest(by_nobody(image), extension, manifest).file

    forgery.repaint("000000000", by_another)
    forgery.repaint("000000001", by_nobody)
    forgery.repaint("000000002", of_another_image)
    forgery.write()
    assert faults_of(copy) == [
        f"data/train-00000.tar: {fault}"
        for fault in (
            "000000000: its image's C2PA manifest is not signed by the key of the release's certificate",
            "000000001: its image lacks the C2PA manifest that says who signed it",
            "000000002: its image has another C2PA manifest than its record gives",
        )
    ]


def test_verify_finds_a_manifest_that_says_something_else(cli: Cli, lab: Path) -> None:
    signer = sign(cli.folder, "other")
    other = base64.b64encode(signer.certificate.public_bytes(Encoding.DER)).decode()
    for change, wanted in (
        (None, "says c2pa is None, by the recipe it is ['"),
        ({"subject": "CN=nobody"}, "says c2pa.subject is CN=nobody, by the certificate it is CN=signer"),
        (
            {"certificates": [base64.b64encode(b"x").decode()]},
            "has a certificate in c2pa that signs no images: it",
        ),
        ({"certificates": [other], "subject": "CN=other"}, "says c2pa is ['"),
    ):
        copy = Path(shutil.copytree(release_of(lab, "png"), cli.folder / "copy"))
        forgery = Forgery.of(copy)
        before = forgery.manifest["c2pa"]
        forgery.manifest["c2pa"] = None if change is None else before | change
        forgery.write()
        assert any(fault.startswith(f"manifest.json: {wanted}") for fault in faults_of(copy)), change
        shutil.rmtree(copy)


def test_an_unsigned_release_holds_no_c2pa(cli: Cli, lab: Path, flat_release: Path) -> None:
    manifest = read_header(next(iter(image_files(release_of(lab, "png")).values())), "png").c2pa or b""
    copy = Path(shutil.copytree(flat_release, cli.folder / "copy"))
    forgery = Forgery.of(copy)
    forgery.repaint("000000001", lambda image: embed_manifest(image, "png", manifest).file)
    forgery.write()
    assert faults_of(copy) == [
        "data/train-00000.tar: 000000001: its image has a C2PA manifest, and the release says that its "
        "images are not signed"
    ]


def test_a_release_that_names_a_key_is_refused_before_it_is_opened(cli: Cli, lab: Path) -> None:
    copy = Path(shutil.copytree(release_of(lab, "png"), cli.folder / "copy"))
    text = (
        (copy / "recipe.yaml")
        .read_text()
        .replace("    fingerprints:", f"    key: {lab}/signer.pem\n    fingerprints:")
    )
    (copy / "recipe.yaml").write_text(text)
    for command in ("verify", "replay", "audit"):
        result = cli(command, copy, *(["0"] if command == "replay" else []))
        assert result.exit_code == 1
        assert "output.c2pa.key: a release names no file to sign with" in result.output


def test_without_the_certificate_a_release_is_not_built_again_signed(cli: Cli, lab: Path) -> None:
    recipe = release_of(lab, "png") / "recipe.yaml"
    result = cli("build", recipe)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "error: output.c2pa.certificate: is missing: only who has the certificate and its key can sign the "
        "images; to build them unsigned: --set output.c2pa=null"
    )
    result = cli("build", recipe, "--set", "output.c2pa=null", "--limit", "2")
    assert result.exit_code == 0, result.output


def refused(cli: Cli, *settings: str) -> str:
    """The one line with which a build refuses to sign; nothing is made."""
    result = cli("build", cli.recipe(), *FEW, *settings)
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert not (cli.folder / "releases").exists()
    assert not list(cli.folder.rglob("*.tar"))
    return line.removeprefix("error: ").replace(f"{cli.folder}/", "")


def test_what_cannot_sign_is_refused_in_a_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cli.folder
    sign(folder)
    sign(folder, "expired", days=(-30, -1))
    sign(folder, "early", days=(5, 30))
    sign(folder, "purposeless", purposes=())
    sign(folder, "rsa", key=rsa.generate_private_key(65537, 2048))
    sign(folder, "locked", password="tulip")
    (folder / "text.crt").write_text("no certificate")
    mixed = (signing(folder)[0], signing(folder, "early")[1])
    assert refused(cli, *mixed) == (
        "output.c2pa.key early.pem: is not the key of the first certificate in signer.crt"
    )
    assert "output.c2pa.certificate expired.crt: expired on " in refused(cli, *signing(folder, "expired"))
    assert "early.crt: is not valid before " in refused(cli, *signing(folder, "early"))
    line = refused(cli, *signing(folder, "purposeless"))
    assert line.startswith("output.c2pa.certificate purposeless.crt: readers of C2PA refuse what it signs: ")
    assert "signingCredential.invalid" in line
    assert refused(cli, *signing(folder, "rsa")) == (
        "output.c2pa.certificate rsa.crt: it is of a key that is neither Ed25519 nor on curve P-256"
    )
    assert refused(cli, *signing(folder, "locked")) == (
        "output.c2pa.key locked.pem: has a password: set SYNTHKIT_KEY_PASSWORD"
    )
    monkeypatch.setenv("SYNTHKIT_KEY_PASSWORD", "rose")
    assert (
        refused(cli, *signing(folder, "locked")) == "output.c2pa.key locked.pem: its password is another one"
    )
    assert "text.crt: is not a PEM file" in refused(cli, *signing(folder, "text"))
    assert "gone.crt: cannot be read: No such file" in refused(cli, *signing(folder, "gone"))
    assert refused(cli, signing(folder)[0]) == (
        "output.c2pa.key: is missing: name the private key of the certificate (PEM)"
    )
    other = f"--set=output.c2pa.fingerprints=[{'a' * 64}]"
    assert "is another certificate than output.c2pa.fingerprints says" in refused(
        cli, *signing(folder), other
    )
    assert "name the certificate and the key to sign with" in refused(cli, "--set=output.c2pa={}")
    monkeypatch.setenv("SYNTHKIT_KEY_PASSWORD", "tulip")
    assert cli("build", cli.recipe(), *FEW, *signing(folder, "locked"), "--out", "locked").exit_code == 0


def test_without_the_packages_signed_releases_are_neither_made_nor_checked(
    cli: Cli, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    needs = (
        "c2pa-python, cbor2 and cryptography, which are not all installed here: in the clone of synthkit, "
    )
    assert refused(cli, *signing(lab)).startswith(f"output.c2pa: signing images needs {needs}")
    release = release_of(lab, "png")
    result = cli("verify", release)
    assert result.exit_code == 1
    assert f"error: {release}: its images are signed (C2PA), and checking them needs {needs}" in result.output


def test_a_private_key_in_place_of_the_certificate_is_not_quoted(cli: Cli) -> None:
    sign(cli.folder)
    key = cli.folder / "signer.pem"
    line = refused(cli, f"--set=output.c2pa.certificate={key}", f"--set=output.c2pa.key={key}")
    assert line == "output.c2pa.certificate signer.pem: is not a certificate (PEM)"


def test_an_image_that_is_chosen_from_several_draws_is_signed(lab: Path) -> None:
    cli = Cli(lab)
    chosen = ("--set=filters={prefer: {draws: 3}}", "--set=output.container=parquet", "--out", "chosen")
    built = cli("build", cli.recipe(), *FEW, *signing(lab), *chosen)
    assert built.exit_code == 0, built.output
    verified = cli("verify", "chosen/small-preview", "--deep")
    assert verified.exit_code == 0, verified.output
    assert "Each image is signed (C2PA)" in verified.output
