"""A release as its users meet it: through datasets, webdataset, Parquet, the card and the picture."""

from __future__ import annotations

import getpass
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.conftest import digests

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_the_folder_is_as_documented(small_release: Path) -> None:
    assert sorted(digests(small_release)) == [
        "README.md",
        "croissant.json",
        "data/train-00000.tar",
        "data/train-00001.tar",
        "data/train-00002.tar",
        "data/train-00003.tar",
        "manifest.json",
        "provenance/train-00000.parquet",
        "recipe.yaml",
        "samples.png",
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_gives_images_labels_and_typed_provenance(
    small_release: Path, tmp_path: Path, streaming: bool
) -> None:
    from datasets import ClassLabel, load_dataset

    dataset: Any = load_dataset(
        str(small_release), split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    samples = list(dataset)
    assert len(samples) == 76
    assert isinstance(dataset.features["cls"], ClassLabel)
    assert dataset.features["cls"].names == NAMES
    for sample in samples:
        record = sample["json"]
        assert sample["png"].size == (32, 32)
        assert record["key"] == sample["__key__"]
        assert record["label"] == sample["cls"]
        assert record["class_name"] == NAMES[sample["cls"]]
        assert len(record["sources"]) == 2
        assert isinstance(record["lam"], float)
        assert isinstance(record["seed"], int)
    assert samples[0]["json"].keys() == json.loads(read_record(small_release, "000000000")).keys()


def read_record(release: Path, key: str) -> bytes:
    for tar in sorted((release / "data").glob("*.tar")):
        with tarfile.open(tar) as archive:
            if f"{key}.json" in archive.getnames():
                return archive.extractfile(f"{key}.json").read()  # type: ignore[union-attr]
    raise KeyError(key)


def test_webdataset_reads_it(small_release: Path) -> None:
    import webdataset

    url = f"{small_release}/data/train-{{00000..00003}}.tar"
    samples = list(webdataset.WebDataset(url, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{index:09d}" for index in range(76)]
    assert all(isinstance(sample["cls"], int) and sample["png"].size == (32, 32) for sample in samples)
    assert all(sample["json"]["label"] == sample["cls"] for sample in samples)


def test_the_parquet_is_the_same_records(small_release: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows: Any = load_dataset(
        str(small_release),
        data_files="provenance/train-00000.parquet",
        split="train",
        cache_dir=str(tmp_path),
    )
    assert len(rows) == 76
    for index in (0, 40, 75):
        assert rows[index] == json.loads(read_record(small_release, f"{index:09d}"))


def test_records_are_complete_and_never_null(small_release: Path) -> None:
    record = json.loads(read_record(small_release, "000000003"))
    assert all(value is not None for value in record.values())
    assert (record["model"], len(record["revision"])) == ("builtin:tiny-unclip-digits", 64)
    assert (record["scheduler"], record["steps"], record["batch_size"]) == ("pndm", 2, 8)
    assert (record["attempt"], record["rejected"]) == (0, [])
    start, stop = record["region"]
    assert record["lam"] == pytest.approx(1 - (stop - start) / 128)


def test_a_record_names_its_sources_by_content(small_release: Path) -> None:
    from synthkit.sources.digits import DigitsSource

    source = DigitsSource("train", max_per_class=8, imbalance_factor=4)
    known = {
        source.listing.ids[i]: (hashlib.sha256(source.read(i)).hexdigest(), source.listing.labels[i])
        for i in range(len(source.listing))
    }
    for index in range(76):
        record = json.loads(read_record(small_release, f"{index:09d}"))
        for named in record["sources"]:
            assert known[named["id"]] == (named["sha256"], record["label"])


def test_the_images_are_what_the_records_say(small_release: Path) -> None:
    import hashlib

    with tarfile.open(small_release / "data/train-00000.tar") as archive:
        image = archive.extractfile("000000000.png").read()  # type: ignore[union-attr]
    record = json.loads(read_record(small_release, "000000000"))
    assert hashlib.sha256(image).hexdigest() == record["image_sha256"]
    assert np.asarray(Image.open(io.BytesIO(image))).std() > 5


def test_the_manifest_counts(small_release: Path) -> None:
    manifest = json.loads((small_release / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"], manifest["images"]) == ("small", "1.2.3", 76)
    assert manifest["partial"] is None
    assert [item["real"] for item in manifest["classes"]] == [8, 7, 6, 5, 4, 4, 3, 3, 2, 2]
    assert all(item["real"] + item["synthetic"] == 12 for item in manifest["classes"])
    assert {item["group"] for item in manifest["classes"]} == {"many", "medium", "few"}
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    actual = digests(small_release)
    actual.pop("manifest.json")
    assert listed == actual


def test_names_that_the_font_cannot_draw_are_still_told_apart() -> None:
    from synthkit.release.samples import drawable

    assert drawable("rouge éclair") == "rouge eclair"
    assert drawable("日本") == "??"
    assert drawable("a rather long class name") == "a rather long..."


def test_samples_png_is_a_row_a_class(small_release: Path) -> None:
    image = Image.open(small_release / "samples.png")
    assert image.width > 800
    assert image.height > 10 * 96


def test_no_file_tells_whose_machine_it_was(small_release: Path) -> None:
    """No absolute path, user name or host name in any file, whatever its format."""
    names = {platform.node(), getpass.getuser()} - {"root"}
    # A name of two or three letters is found in any compressed file.
    secrets = {name for name in names if len(name) > 3} | {str(small_release.parents[1]), str(Path.cwd())}
    for path in small_release.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], path
    table = pq.read_table(small_release / "provenance/train-00000.parquet")
    text = str(table.to_pylist()) + str(table.schema.metadata)
    assert not [secret for secret in secrets if secret in text]


def test_tars_are_ustar_with_nothing_but_zeros_for_times_and_owners(small_release: Path) -> None:
    for tar in (small_release / "data").glob("*.tar"):
        raw = tar.read_bytes()
        assert raw[257:265] == b"ustar\x0000"
        with tarfile.open(tar) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                assert member.mode == 0o644
                assert not member.pax_headers
