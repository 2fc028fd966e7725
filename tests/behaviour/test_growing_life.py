"""A release that grows, is signed, and outlives the place where its model lay: commands and a Hub tell it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from synthkit.recipe.model_content import content_sha256
from tests.conftest import digests
from tests.helpers.hub_server import HubServer
from tests.helpers.publishing import published
from tests.helpers.signing import make_key
from tests.helpers.warm import Warm

REPO = "lab/digits"
MODEL = {
    "model_index.json": json.dumps({"_class_name": "FlatColours", "size": 16}).encode(),
}
RECIPE = """\
name: grown
version: 1.0.0
license: cc-by-4.0
source: {{kind: digits, long_tail: null}}
synthetic_per_class: 250
model: {{id: lab/model, sha256: {sha256}, mirrors: [archive/model]}}
sampler: {{steps: 1, batch_size: 10}}
output: {{shard_size: 250}}
hub: {{repo_id: lab/digits}}
"""
# What a user of either version runs.
LOAD = """
from datasets import load_dataset
for version in ("v1.0.0", "v1.1.0"):
    rows = load_dataset("lab/digits", revision=version, split="train")
    print(version, len(rows), sorted(set(rows["cls"])))
"""


@pytest.fixture
def work(hub: HubServer, tmp_path: Path) -> Path:
    """A folder with the recipe; the model lies in one repository, and a copy in another."""
    for name in ("lab/model", "archive/model"):
        hub.add_repo(name, "model", MODEL)
    sha256 = content_sha256((path, hashlib.sha256(content).hexdigest()) for path, content in MODEL.items())
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(sha256=sha256))
    return tmp_path


def sent(hub: HubServer) -> int:
    """The bytes that clients have sent so far."""
    return sum(request.sent for request in hub.requests)


@pytest.mark.slow
def test_it_grows_and_outlives_the_place_of_its_model(hub: HubServer, quick: Warm, work: Path) -> None:
    def told(*arguments: str | Path) -> str:
        process = quick.start(*map(str, arguments), cwd=work)
        printed = "".join(process.communicate())
        assert process.returncode == 0, printed
        return printed

    release, recipe = work / "out" / "grown", work / "recipe.yaml"

    # The first version.
    assert "2,500 of them made now" in told("build", recipe, "--out", work / "out")
    told("publish", release, REPO)
    sent_at_first, first = sent(hub), published(hub)

    # A tenth more: a tenth of the work, and of the bytes.
    told("grow", recipe, "--target", "275", "--earlier", release)
    assert "2,750 images in 11 shard(s), 250 of them made now" in told("build", recipe, "--out", work / "out")
    key = make_key(work, "lab")
    told("sign", release, "--key", key.key)
    told("publish", release, REPO)
    # With images of 1 kB the picture of samples, which is drawn anew, would count for more than it does.
    picture = len(base64.b64encode((release / "samples.png").read_bytes()))
    assert sent(hub) - sent_at_first - picture <= 0.11 * (sent_at_first - picture)
    assert published(hub) == first
    second = published(hub, "v1.1.0")
    assert second == digests(release)
    kept = [path for path in first if path.startswith(("data/", "provenance/"))]
    assert len(kept) == 11 and all(second[path] == first[path] for path in kept)

    # Those who use it.
    assert told_by_python(quick, work) == [("v1.0.0", "2500"), ("v1.1.0", "2750")]
    text = told("diff", f"{REPO}@v1.0.0", f"{REPO}@v1.1.0")
    assert "  grown by 250 images, nothing else changed\n" in text
    assert "Signed by" in told("verify", f"{REPO}@v1.1.0", "--signer", key.pub)

    # The repository of the model goes.
    hub.remove_repo("lab/model", "model")
    shutil.rmtree(Path(quick.environment["HF_HOME"]) / "hub")
    told("pull", f"{REPO}@v1.1.0", "--out", work / "theirs")
    assert digests(work / "theirs" / "digits") == second
    assert "4 of 4 identical" in told("replay", work / "theirs" / "digits", "--sample", "4")
    fetched = [request.path for request in hub.requests if request.path.startswith("/archive/model/resolve/")]
    assert fetched


def told_by_python(quick: Warm, folder: Path) -> list[tuple[str, str]]:
    """The versions that `datasets` loads, each with its number of rows."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD],
        env=quick.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^(v\S+) (\d+)", ran.stdout, re.MULTILINE)
