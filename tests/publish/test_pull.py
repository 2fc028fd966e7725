"""Releases pulled from a Hub are whole and verified, or absent."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import digests
from tests.helpers.hub_client import Client, Ran
from tests.helpers.hub_server import Fault, HubServer
from tests.helpers.publishing import REPO, published

REFERENCE = f"{REPO}@v1.0.0"


@pytest.fixture
def published_hub(hub: HubServer, synthkit: Client, release: Path) -> HubServer:
    assert synthkit("publish", release, REPO).exit_code == 0
    hub.requests.clear()
    return hub


def refused(ran: Ran, *words: str) -> None:
    assert ran.exit_code == 1, ran.output
    message = ran.output.splitlines()[-1]
    assert message.startswith("error: "), ran.output
    for word in words:
        assert word in message


def test_a_release_is_here_whole(published_hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    ran = synthkit("pull", REFERENCE, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert f"{tmp_path / 'digits'}: small 1.0.0 is here and intact" in ran.output
    assert digests(tmp_path / "digits") == published(published_hub)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    # Files of one's own, not links into a cache.
    assert not any(path.is_symlink() for path in (tmp_path / "digits").rglob("*"))


def test_pulling_again_verifies_and_fetches_nothing_large(
    published_hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    synthkit("pull", REFERENCE, "--out", tmp_path)
    published_hub.requests.clear()
    assert synthkit("pull", REFERENCE, "--out", tmp_path).exit_code == 0
    assert not any(".tar" in request.path for request in published_hub.requests)
    shard = next((tmp_path / "digits" / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1])
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), shard.name, "pull again")


def test_what_failed_goes_on(published_hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    path = "data/train-00001"
    published_hub.faults.append(Fault("drop", path=path, times=100))
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), "run the same command again")
    assert not (tmp_path / "digits").exists()
    published_hub.faults.clear()
    published_hub.requests.clear()
    assert synthkit("pull", REFERENCE, "--out", tmp_path).exit_code == 0
    fetched = [request.path for request in published_hub.requests if request.method == "GET"]
    assert any(path in name for name in fetched)
    assert not any("data/train-00000" in name for name in fetched)
    assert digests(tmp_path / "digits") == published(published_hub)


@pytest.mark.parametrize("kind", ["429", "503", "drop", "drop-after", "truncate"])
def test_what_passes_is_waited_for(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, kind: str
) -> None:
    published_hub.faults += [Fault(kind, path=path) for path in ("/revision/", "/resolve/", "/lfs/")]
    ran = synthkit("pull", REFERENCE, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert digests(tmp_path / "digits") == published(published_hub)


def test_something_else_is_there(
    published_hub: HubServer, synthkit: Client, next_release: Path, tmp_path: Path
) -> None:
    shutil.copytree(next_release, tmp_path / "digits")
    before = digests(tmp_path)
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), "holds small 1.1.0, not this release", "--out")
    assert digests(tmp_path) == before
    shutil.rmtree(tmp_path / "digits")
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "thesis.txt").write_text("mine")
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), "it has no manifest.json", "--out")
    assert (tmp_path / "digits" / "thesis.txt").read_text() == "mine"


def test_the_wrong_bytes_under_a_tag(published_hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    commit = published_hub.commit(REPO, {"data/train-00000.tar": b"other bytes"})
    published_hub.store.get("dataset", REPO).tags["v1.0.0"] = commit
    refused(
        synthkit("pull", REFERENCE, "--out", tmp_path),
        "data/train-00000.tar",
        "not what the manifest",
    )
    assert not (tmp_path / "digits").exists()


OUTSIDE = ["../../escaped.txt", "/tmp/escaped.txt", "data/../../escaped.txt"]


@pytest.mark.parametrize("path", [*OUTSIDE, ".git/config", "data/.envrc", "run.py"])
def test_a_manifest_that_names_what_no_release_has(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, path: str
) -> None:
    manifest = json.loads(published_hub.files(REPO)["manifest.json"])
    manifest["files"].append({"path": path, "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()})
    published_hub.commit(REPO, {path: b"x", "manifest.json": json.dumps(manifest).encode()})
    ran = synthkit("pull", f"{REPO}@main", "--out", tmp_path / "in")
    refused(ran, path)
    assert not list(tmp_path.iterdir())
    refused(synthkit("verify", f"{REPO}@main"), path)


def test_files_that_are_larger_than_the_manifest_says_are_not_fetched(
    published_hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    path = "data/train-00000.tar"
    published_hub.commit(REPO, {path: bytes(10_000_000)})
    refused(synthkit("pull", f"{REPO}@main", "--out", tmp_path), f"{path} is not what the manifest says")
    assert not any("/lfs/" in request.path for request in published_hub.requests)
    published_hub.commit(REPO, {"manifest.json": bytes((1 << 28) + 1)})
    refused(synthkit("pull", f"{REPO}@main", "--out", tmp_path), "manifest.json is too large to be one")


@pytest.mark.parametrize(
    ("kind", "words"), [("503", "answers 503"), ("403", "does not let this token do it")]
)
def test_a_hub_that_refuses_is_not_told_as_no_release(
    published_hub: HubServer, synthkit: Client, tmp_path: Path, kind: str, words: str
) -> None:
    published_hub.faults.append(Fault(kind, path="/resolve/", times=10**6))
    refused(synthkit("pull", REFERENCE, "--out", tmp_path), words)
    refused(synthkit("verify", REFERENCE), words)


def test_nothing_larger_than_stated_is_fetched_to_be_looked_at(
    published_hub: HubServer, synthkit: Client
) -> None:
    published_hub.commit(REPO, {"samples.png": bytes(5_000_000)})
    for command in ("verify", "show"):
        refused(synthkit(command, f"{REPO}@main"), "samples.png is not what the manifest says")
    assert not any("/lfs/" in request.path for request in published_hub.requests)


def test_a_hostile_recipe_is_told_in_a_line(published_hub: HubServer, synthkit: Client) -> None:
    recipe = b"name: !!bool x\n"
    manifest = json.loads(published_hub.files(REPO)["manifest.json"])
    for file in manifest["files"]:
        if file["path"] == "recipe.yaml":
            file |= {"bytes": len(recipe), "sha256": hashlib.sha256(recipe).hexdigest()}
    published_hub.commit(REPO, {"recipe.yaml": recipe, "manifest.json": json.dumps(manifest).encode()})
    ran = synthkit("verify", f"{REPO}@main")
    assert ran.exit_code == 1 and "recipe.yaml: is not plain YAML" in ran.output
    assert "TRACEBACK" not in ran.output and "ask its publisher" in ran.output
    refused(synthkit("show", f"{REPO}@main"), "is not plain YAML")


def test_a_full_disk_is_no_fault_of_the_network(published_hub: HubServer, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "synthkit", "pull", REFERENCE, "--out", tmp_path / "in"],
        env=published_hub.environment(tmp_path / "home", published_hub.WRITE_TOKEN),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "File too large; what is finished is kept: make room" in ran.stderr
    assert "network" not in ran.stderr


def test_what_a_repository_holds_beside_the_release_is_left_there(
    published_hub: HubServer, synthkit: Client, tmp_path: Path
) -> None:
    published_hub.commit(REPO, {"run_me.py": b"print('no')"})
    assert synthkit("pull", f"{REPO}@main", "--out", tmp_path).exit_code == 0
    assert not (tmp_path / "digits" / "run_me.py").exists()


def test_names_that_lead_nowhere(published_hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    refused(synthkit("pull", f"{REPO}@v9.9.9", "--out", tmp_path), "has no version v9.9.9; it has v1.0.0")
    refused(synthkit("pull", "lab/none@v1.0.0", "--out", tmp_path), "is not on the Hub, or private")
    for odd in (REPO, "digits@v1.0.0", "../x@v1", "lab/..@v1.0.0", "lab/digits@../v1"):
        refused(synthkit("pull", odd, "--out", tmp_path / "in"))
    published_hub.add_repo("lab/plain", files={"README.md": b"# Photos"})
    refused(
        synthkit("pull", "lab/plain@main", "--out", tmp_path),
        "lab/plain@main: is not a release: it has no manifest.json",
    )
    assert not list(tmp_path.iterdir())


def test_private_releases_need_a_token(published_hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    ran = synthkit("pull", REFERENCE, "--out", tmp_path, HF_TOKEN=published_hub.STRANGER_TOKEN)
    refused(ran, "is not on the Hub, or private", "hf auth login")
    assert not list(tmp_path.iterdir())
