"""What the tests of publishing share: a release of eight images, and what a Hub holds of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tests.conftest import Cli
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer

REPO = "lab/digits"
TINY = """\
name: small
version: 1.0.0
license: cc-by-4.0
source:
  kind: digits
  subset: [zero, one]
  max_per_class: 3
  imbalance_factor: 3
  groups: {many_above: 2, few_below: 2}
target_per_class: 6
model: {id: "builtin:flat-colours"}
sampler: {steps: 2, guidance_scale: 1.0, batch_size: 4}
output: {shard_size: 4}
"""


def build(folder: Path, *overrides: str, text: str = TINY, like: Path | None = None) -> Path:
    """A release of the tiny recipe; one like another, with its shards."""
    if like is not None:
        shutil.copytree(like.parents[1] / ".synthkit", folder / ".synthkit")
    (folder / "recipe.yaml").write_text(text)
    settings = [word for override in overrides for word in ("--set", override)]
    result = Cli(folder)("build", "recipe.yaml", *settings)
    assert result.exit_code == 0, result.output
    return folder / "releases" / "small"


def published(hub: HubServer, tag: str = "v1.0.0") -> dict[str, str]:
    """The SHA-256 of the files of a version, without the Hub's own."""
    files = hub.files(REPO, tag)
    return {
        path: hashlib.sha256(content).hexdigest()
        for path, content in sorted(files.items())
        if path != ".gitattributes"
    }


def whole(hub: HubServer, tag: str) -> bool:
    """Whether a version holds exactly the files of its own manifest."""
    files = published(hub, tag)
    listed = json.loads(hub.files(REPO, tag)["manifest.json"])["files"]
    named = {file["path"]: file["sha256"] for file in listed}
    return named == {path: sha256 for path, sha256 in files.items() if path != "manifest.json"}


def refused(hub: HubServer, synthkit: Client, *arguments: str | Path, **environment: str) -> str:
    """The message of a publish that fails and leaves the Hub as it was."""
    commits = {name: repository.log() for name, repository in hub.store.repositories.items()}
    tags = list(hub.tag_log)
    ran = synthkit("publish", *arguments, **environment)
    assert ran.exit_code == 1, ran.output
    message = ran.output.splitlines()[-1]
    assert message.startswith("error: "), ran.output
    assert all(hub.store.repositories[name].log() == log for name, log in commits.items())
    assert hub.tag_log == tags
    return message
