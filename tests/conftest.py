"""What all tests share: a recipe that builds in seconds, and the release it makes."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Two test workers on two cores: one thread each. Must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
# A home of its own: `datasets` would serve a release of an earlier run from its cache.
os.environ["HF_HOME"] = tempfile.mkdtemp()

from pathlib import Path

import hypothesis
import pytest
from typer.testing import CliRunner, Result

from synthkit.cli import app

atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)

# Tests must not depend on how busy a machine is.
hypothesis.settings.register_profile("synthkit", deadline=None)
hypothesis.settings.load_profile("synthkit")

SMALL = """\
name: small
version: 1.2.3
summary: A release for tests.
license: cc-by-4.0
source:
  kind: digits
  max_per_class: 8
  imbalance_factor: 4
  groups: {many_above: 6, few_below: 4}
prompt: "{name}"
target_per_class: 12
model:
  id: builtin:tiny-unclip-digits
sampler:
  steps: 3
  guidance_scale: 2.0
  batch_size: 8
output:
  shard_size: 24
seed: 7
"""


class Cli:
    """Runs commands in this process, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> Result:
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            return CliRunner().invoke(app, [str(argument) for argument in arguments])
        finally:
            os.chdir(before)

    def recipe(self, *changes: str, name: str = "recipe.yaml") -> Path:
        """Write the small recipe; a change `key: value` adds or replaces a top-level line."""
        text = SMALL
        for change in changes:
            key = change.split(":")[0]
            kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "\n".join([*kept, change, ""])
        path = self.folder / name
        path.write_text(text)
        return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished release of the small recipe. Read it, do not change it."""
    cli = Cli(tmp_path_factory.mktemp("small"))
    result = cli("build", cli.recipe())
    assert result.exit_code == 0, result.output
    return cli.folder / "releases" / "small"


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by relative path."""
    import hashlib

    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
