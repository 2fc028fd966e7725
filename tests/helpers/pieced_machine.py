"""A machine with a recipe whose model has pieces, the Hub that has them, and the cache of its client."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from synthkit.recipe.model_content import content_sha256
from tests.helpers.hub_server import HubServer
from tests.helpers.pieced_colours import ADAPTERS
from tests.helpers.warm import Warm

RECIPE = """\
name: small
source: {kind: digits, subset: [zero, one], max_per_class: 3}
synthetic_per_class: 2
model:
  id: lab/base
  adapter: {id: lab/adapters, file: models/plain.safetensors}
  encoder: {id: lab/adapters, folder: models/image_encoder}
sampler: {batch_size: 4}
output: {shard_size: 4}
"""
ENCODER = {
    path.removeprefix("models/"): ADAPTERS[path]
    for path in (
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
        "models/image_processor/preprocessor_config.json",
    )
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def content_of(files: dict[str, bytes]) -> str:
    return content_sha256((path, sha256(content)) for path, content in files.items())


class Machine:
    """A folder to work in, the Hub, and the cache of its client."""

    def __init__(self, hub: HubServer, folder: Path, commands: Warm) -> None:
        self.hub, self.folder, self._commands = hub, folder, commands
        (folder / "recipe.yaml").write_text(RECIPE)
        shutil.rmtree(Path(commands.environment["HF_HOME"], "hub"), ignore_errors=True)

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        process = self._commands.start(*arguments, cwd=self.folder)
        printed = "".join(process.communicate())
        assert process.returncode == fails, printed
        return printed

    def build(self, *settings: str, out: str = "out", fails: bool = False) -> str:
        changes = [word for setting in settings for word in ("--set", f"model.{setting}")]
        return self("build", "recipe.yaml", "--out", out, *changes, fails=fails)

    def facts(self, out: str = "out") -> Any:
        return json.loads((self.folder / out / "small" / "manifest.json").read_text())

    def recipe(self, out: str = "out") -> Any:
        return yaml.safe_load((self.folder / out / "small" / "recipe.yaml").read_text())

    def downloaded(self) -> set[str]:
        found = {request.path for request in self.hub.requests if "/resolve/" in request.path}
        return {path.partition("/resolve/")[2].partition("/")[2] for path in found}
