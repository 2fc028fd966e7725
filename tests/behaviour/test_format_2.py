"""Format 2, as it was when it was decided: today's readers still read a release that was committed then.

tests/data/make_release_format_2.sh made it: it has two blocks, and its images were judged by quality gates.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from synthkit.release.manifest import read_manifest
from synthkit.release.records import Provenance2, read_record
from tests.conftest import Cli, read_member
from tests.helpers.forging import faults_of
from tests.helpers.paths import DATA

RELEASE = DATA / "release-format-2"
SHARDS = [RELEASE / "data" / f"train-{number:05d}.tar" for number in range(3)]
KEYS = [f"{key:09d}" for key in range(9)]


def test_its_manifest() -> None:
    manifest = read_manifest(RELEASE)
    assert (manifest.format_version, manifest.name, manifest.version) == (2, "small", "2.1.0")
    assert [block.images for block in manifest.grown] == [6]
    assert [shard.images for shard in manifest.shards] == [4, 2, 3]
    assert list(manifest.tables()) == ["provenance/train-00000.parquet", "provenance/train-00001.parquet"]
    assert {part.role for part in manifest.generator.parts} >= {"unet", "vae", "image_encoder"}
    assert manifest.sealed() == manifest


@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_no_fault(deep: bool) -> None:
    assert faults_of(RELEASE, deep=deep) == []


def test_its_records() -> None:
    record = read_record(read_member(SHARDS[2], f"{KEYS[8]}.json"), 2)
    assert isinstance(record, Provenance2)
    assert record.generation_digest == read_manifest(RELEASE).generation_digest
    assert [score.name for score in record.scores] == ["blank.deviation", "near_copy.similarity"]


def test_show_and_replay(cli: Cli, tmp_path: Path) -> None:
    assert "grown        6, then 3 images" in cli("show", RELEASE).output
    copy = shutil.copytree(RELEASE, tmp_path / "copy")
    replayed = cli("replay", copy, *KEYS[5:7])
    # Another version of a library may give other bits, and says so; the records must hold all the same.
    assert f"{KEYS[5]}: " in replayed.output and f"{KEYS[6]}: " in replayed.output
    assert "but its record" not in replayed.output


def test_load_dataset(tmp_path: Path) -> None:
    from datasets import load_dataset

    samples: Any = load_dataset(str(RELEASE), split="train", cache_dir=str(tmp_path))
    assert samples["__key__"] == KEYS
    assert {tuple(sample["png"].size) for sample in samples} == {(32, 32)}
    assert all(samples.features["cls"].names[row["cls"]] == row["json"]["class_name"] for row in samples)
