"""The records in the Hub's viewer: what `datasets` takes in one repository, and the data set beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkit.release.manifest import read_manifest
from tests.helpers.hub_server import HubServer
from tests.helpers.paths import ROOT

IMAGES = {"config_name": "default", "data_files": "data/train-*.tar"}
RECORDS = {"config_name": "provenance", "data_files": "provenance/train-*.parquet"}


@pytest.mark.parametrize(
    ("configs", "works", "fails", "error"),
    [
        ([IMAGES, RECORDS], "default", "provenance", "invalid header"),
        ([IMAGES, RECORDS | {"builder_name": "parquet"}], "default", "provenance", "invalid header"),
        ([RECORDS, IMAGES | {"default": True}], "provenance", "default", "Parquet magic bytes not found"),
    ],
)
def test_datasets_takes_one_kind_of_file_in_a_repository(
    flat_release: Path, tmp_path: Path, configs: list[dict[str, Any]], works: str, fails: str, error: str
) -> None:
    """If this fails, `datasets` takes two: then the card can have a second configuration for the records."""
    from datasets import load_dataset

    copy = Path(shutil.copytree(flat_release, tmp_path / "copy"))
    (copy / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")

    def rows(name: str) -> int:
        return sum(1 for _ in load_dataset(str(copy), name, split="train", streaming=True))

    assert rows(works) == 76
    with pytest.raises(Exception, match=error):
        rows(fails)


@pytest.mark.slow
def test_the_records_as_a_data_set_of_their_own(hub: HubServer, release: Path, tmp_path: Path) -> None:
    """The commands of docs/releases.md, with the names of this release."""
    docs = (ROOT / "docs" / "releases.md").read_text()
    commands = re.findall(r"^\$ (hf .* lab/digits-provenance .*)$", docs, re.MULTILINE)
    assert len(commands) == 2
    environment = hub.environment(tmp_path, hub.WRITE_TOKEN)
    hf = str(Path(sys.executable).with_name("hf"))
    for command in commands:
        words = command.replace("releases/digits-lt-augcond", str(release)).split()
        subprocess.run([hf, *words[1:]], env=environment, check=True, capture_output=True)
    assert hub.tags("lab/digits-provenance").keys() == {"v1.0.0"}
    script = "import datasets as d; print(len(d.load_dataset('lab/digits-provenance', split='train')))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert int(loaded.stdout) == read_manifest(release).images
