"""Signed releases on the Hub: what is sent is what is signed, and whoever pulls can ask by whom."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthkit.release.signature import MAX_BYTES
from tests.conftest import digests
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import Fault, HubServer
from tests.helpers.publishing import REPO, build, published, refused
from tests.helpers.signing import SIGNATURE, KeyPair, make_key

REFERENCE = f"{REPO}@v1.0.0"


@pytest.fixture
def lab(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path, "lab")


@pytest.fixture
def signed_hub(hub: HubServer, synthkit: Client, release: Path, lab: KeyPair) -> HubServer:
    """A Hub with the release, signed on its way there."""
    told(synthkit, "publish", release, REPO, "--sign", "--key", lab.key)
    return hub


def told(synthkit: Client, *arguments: str | Path) -> str:
    """What a command prints; it must succeed."""
    ran = synthkit(*arguments)
    assert ran.exit_code == 0, ran.output
    return ran.output


def failed(synthkit: Client, *arguments: str | Path) -> str:
    """The last line of a command, which must fail."""
    ran = synthkit(*arguments)
    assert ran.exit_code == 1, ran.output
    return ran.output.splitlines()[-1]


def test_what_is_sent_is_signed_and_the_folder_stays(
    hub: HubServer, synthkit: Client, release: Path, lab: KeyPair
) -> None:
    before = digests(release)
    output = told(synthkit, "publish", release, REPO, "--sign", "--key", lab.key)
    assert f"Signed by the key with sha256 {lab.sha256}" in output
    assert f"synthkit verify {REFERENCE} --signer WHO" in output
    assert digests(release) == before
    assert SIGNATURE in published(hub)
    assert f"Signed by the key with sha256 {lab.sha256}" in told(
        synthkit, "verify", REFERENCE, "--signer", lab.pub
    )
    assert f"says it is by the key with sha256 {lab.sha256}" in told(synthkit, "show", REFERENCE)


def test_the_other_files_are_those_of_an_unsigned_publication(
    signed_hub: HubServer, synthkit: Client, release: Path
) -> None:
    signed = published(signed_hub)
    signed_hub.reset()
    told(synthkit, "publish", release, REPO)
    assert published(signed_hub) == {path: sha256 for path, sha256 in signed.items() if path != SIGNATURE}


def test_a_dry_run_signs_nothing(hub: HubServer, synthkit: Client, release: Path, lab: KeyPair) -> None:
    output = told(synthkit, "publish", release, REPO, "--sign", "--key", lab.key, "--dry-run")
    assert f"The manifest would be signed by the key with sha256 {lab.sha256}" in output
    assert all(request.method == "GET" or "validate-yaml" in request.path for request in hub.requests)


def test_publishing_again_leaves_the_signature(
    signed_hub: HubServer, synthkit: Client, release: Path, lab: KeyPair
) -> None:
    """Signing again would give other bytes, and a version never changes."""
    before = published(signed_hub)
    for words in (("--sign", "--key", lab.key), ()):
        output = told(synthkit, "publish", release, REPO, *words)
        assert "v1.0.0 is published already, and whole" in output
        assert f"It is signed; by whom: synthkit verify {REFERENCE} --signer WHO" in output
    assert published(signed_hub) == before


def test_a_version_gets_no_signature_later(
    hub: HubServer, synthkit: Client, release: Path, lab: KeyPair, copy: Path
) -> None:
    told(synthkit, "publish", release, REPO)
    message = refused(hub, synthkit, release, REPO, "--sign", "--key", lab.key)
    assert message.startswith(f"error: {REPO}: v1.0.0 is published already, without a signature")


def test_a_stopped_upload_goes_on(hub: HubServer, synthkit: Client, release: Path, lab: KeyPair) -> None:
    words = ("publish", release, REPO, "--sign", "--key", lab.key)
    hub.faults.append(Fault("503", path="/tag/", times=100))
    assert "error: " in failed(synthkit, *words)
    assert SIGNATURE in published(hub, "main")
    hub.faults.clear()
    assert "no release brought" not in told(synthkit, *words)
    assert "Signed by" in told(synthkit, "verify", REFERENCE, "--signer", lab.pub)


def test_the_next_version_may_be_unsigned(
    signed_hub: HubServer, synthkit: Client, next_release: Path
) -> None:
    told(synthkit, "publish", next_release, REPO)
    assert SIGNATURE not in published(signed_hub, "v1.1.0")
    assert SIGNATURE in published(signed_hub, "v1.0.0")


def test_a_signature_in_the_folder_goes_along_if_it_fits(
    hub: HubServer, synthkit: Client, release: Path, lab: KeyPair, tmp_path: Path
) -> None:
    addressed = build(tmp_path, f"hub.repo_id={REPO}", like=release)
    told(synthkit, "sign", addressed, "--key", lab.key)
    told(synthkit, "publish", addressed)
    assert published(hub) == digests(addressed)
    output = told(synthkit, "publish", addressed)
    assert "published already, and whole" in output
    told(synthkit, "sign", addressed, "--key", lab.key)
    assert "v1.0.0 is published already, with another signature" in refused(hub, synthkit, addressed)


def test_a_signature_that_does_not_fit_is_told_of(
    hub: HubServer, synthkit: Client, copy: Path, lab: KeyPair
) -> None:
    """What is sent names the repository, so its manifest is another one than the signed."""
    told(synthkit, "sign", copy, "--key", lab.key)
    message = refused(hub, synthkit, copy, REPO)
    assert message == (
        f"error: {copy}: its signature does not fit what is sent, whose card, recipe and metadata name "
        f"{REPO}: sign that with --sign --key KEY (or remove {copy / SIGNATURE})"
    )
    told(synthkit, "publish", copy, REPO, "--sign", "--key", lab.key)
    assert "Signed by" in told(synthkit, "verify", REFERENCE, "--signer", lab.pub)
    assert published(hub)[SIGNATURE] != digests(copy)[SIGNATURE]


# --- pulled ---------------------------------------------------------------------------------------------


def test_pull_brings_the_signature(
    signed_hub: HubServer, synthkit: Client, lab: KeyPair, tmp_path: Path
) -> None:
    output = told(synthkit, "pull", REFERENCE, "--out", tmp_path / "unasked")
    assert "Signed by" not in output
    assert digests(tmp_path / "unasked" / "digits") == published(signed_hub)
    output = told(synthkit, "pull", REFERENCE, "--out", tmp_path / "asked", "--signer", lab.pub)
    assert f"Signed by the key with sha256 {lab.sha256}" in output
    assert "Signed by" in told(synthkit, "verify", tmp_path / "asked" / "digits", "--signer", lab.pub)
    (tmp_path / "asked" / "digits" / SIGNATURE).unlink()
    told(synthkit, "pull", REFERENCE, "--out", tmp_path / "asked", "--signer", lab.pub)
    assert digests(tmp_path / "asked" / "digits") == published(signed_hub)


def test_pull_fetches_nothing_by_another_signer(
    signed_hub: HubServer, synthkit: Client, lab: KeyPair, tmp_path: Path
) -> None:
    other = make_key(tmp_path, "other")
    signed_hub.requests.clear()
    message = failed(synthkit, "pull", REFERENCE, "--out", tmp_path / "in", "--signer", other.pub)
    assert message == (
        f"error: {REFERENCE}: {SIGNATURE} is by the key with sha256 {lab.sha256}; asked for was the key with "
        f"sha256 {other.sha256}; nothing was fetched"
    )
    assert not any(".tar" in request.path for request in signed_hub.requests)
    assert not (tmp_path / "in").exists()


def test_a_repository_whose_signature_is_gone_or_is_not_one(
    signed_hub: HubServer, synthkit: Client, lab: KeyPair, tmp_path: Path
) -> None:
    words = ("pull", f"{REPO}@main", "--out", tmp_path / "in")
    here = ("pull", f"{REPO}@main", "--out", tmp_path / "here")
    told(synthkit, *here)
    (tmp_path / "here" / "digits" / SIGNATURE).unlink()
    before = digests(tmp_path / "here")
    for content, reason in (
        (b"x" * (MAX_BYTES + 1), "is too large to be one"),
        (b"not one", "is not a signature as synthkit sign writes it"),
    ):
        signed_hub.commit(REPO, {SIGNATURE: content})
        for command in (words, (*words, "--signer", lab.pub), here, ("verify", f"{REPO}@main")):
            assert reason in failed(synthkit, *command)
    assert digests(tmp_path / "here") == before
    signed_hub.commit(REPO, {SIGNATURE: None})
    assert "is missing: the release is not signed" in failed(synthkit, *words, "--signer", lab.pub)
    assert not (tmp_path / "in" / "digits").exists()
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    told(synthkit, *words)
