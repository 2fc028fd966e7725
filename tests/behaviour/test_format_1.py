"""Format 1, as it was published: today's readers still read a release that was committed then.

tests/data/make_release_format_1.sh made it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from synthkit.release.manifest import read_manifest
from synthkit.release.records import read_record
from synthkit.verification.verify import verify_release
from tests.conftest import Cli, read_member
from tests.helpers.paths import DATA

RELEASE = DATA / "release-format-1"
SHARD = RELEASE / "data" / "train-00000-of-00001.tar"
KEYS = ["000000000", "000000001"]


def test_its_manifest() -> None:
    manifest = read_manifest(RELEASE)
    assert (manifest.format_version, manifest.name, manifest.version) == (1, "small", "1.2.3")
    assert (manifest.images, manifest.width, manifest.height, manifest.extension) == (2, 32, 32, "png")
    assert manifest.partial is not None
    assert manifest.partial.of == 76
    assert [item.name for item in manifest.classes][:3] == ["zero", "one", "two"]
    assert manifest.generator.name == "builtin:tiny-unclip-digits"
    assert manifest.sealed() == manifest


@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_no_fault(deep: bool) -> None:
    assert verify_release(RELEASE, read_manifest(RELEASE), lambda count: None, deep=deep) == []


def test_show_tells_what_it_is(cli: Cli) -> None:
    result = cli("show", RELEASE)
    assert result.exit_code == 0, result.output
    assert "small 1.2.3, a preview of 76" in result.output
    assert "embed-cutmix-dropout" in result.output


@pytest.mark.parametrize("key", KEYS)
def test_show_tells_where_an_image_comes_from(cli: Cli, key: str) -> None:
    result = cli("show", RELEASE, key)
    assert result.exit_code == 0, result.output
    assert f"{key} of small 1.2.3" in result.output
    assert "  second" in result.output


@pytest.mark.parametrize("key", KEYS)
def test_its_records(key: str) -> None:
    record = read_record(read_member(SHARD, f"{key}.json"), 1)
    assert (record.key, record.method, record.steps) == (key, "embed-cutmix-dropout", 1)
    assert read_member(SHARD, f"{key}.cls") == str(record.label).encode()
    assert len(record.sources) == 2
    assert Image.open(io.BytesIO(read_member(SHARD, f"{key}.png"))).size == (record.width, record.height)


def test_load_dataset(tmp_path: Path) -> None:
    from datasets import load_dataset

    samples: Any = load_dataset(str(RELEASE), split="train", cache_dir=str(tmp_path))
    assert samples["__key__"] == KEYS
    for sample in samples:
        assert sample["png"].size == (32, 32)
        assert samples.features["cls"].names[sample["cls"]] == sample["json"]["class_name"]
        assert read_member(SHARD, f"{sample['__key__']}.cls") == str(sample["cls"]).encode()


def test_webdataset() -> None:
    import webdataset

    samples = list(webdataset.WebDataset(str(SHARD), shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == KEYS
    assert [sample["json"]["label"] for sample in samples] == [sample["cls"] for sample in samples]
