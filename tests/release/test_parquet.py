"""Releases whose shards are Parquet files: the same images as in tars, read by those who train and look."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import datasets
import msgspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import synthkit
from synthkit.errors import ReleaseError
from synthkit.recipe.output import ContainerName
from synthkit.release.containers import CONTAINERS, parquet
from synthkit.release.containers.base import Shard
from synthkit.release.image import read_image, read_images
from synthkit.release.manifest import read_manifest
from synthkit.release.records import key_of
from synthkit.system.environment import library_versions
from tests.conftest import FLAT, Cli, digests, read_member
from tests.helpers.forging import Forgery, image_files
from tests.helpers.scoring import synthetic_of

IMAGES = 76


@pytest.fixture
def copy(parquet_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parquet_release, tmp_path / "small"))


@pytest.fixture(scope="module")
def rows(parquet_release: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pd.read_parquet(parquet_release / "data").to_dict("records")
    return found


def load(release: Path, tmp_path: Path, **options: Any) -> Any:
    return datasets.load_dataset(str(release), split="train", cache_dir=str(tmp_path / "cache"), **options)


def numbers(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).float()


def test_every_container_that_a_recipe_can_name_is_there() -> None:
    assert tuple(CONTAINERS) == ContainerName.__args__  # type: ignore[attr-defined]


def test_images_and_records_are_those_of_tars(
    parquet_release: Path, flat_release: Path, rows: list[dict[str, Any]]
) -> None:
    assert {row["image"]["path"]: row["image"]["bytes"] for row in rows} == image_files(flat_release)
    mine, tars = digests(parquet_release), digests(flat_release)
    assert mine["provenance/train-00000.parquet"] == tars["provenance/train-00000.parquet"]
    assert sorted(mine.keys() - tars.keys()) == [f"data/train-0000{n}.parquet" for n in range(4)]
    one, other = read_manifest(parquet_release), read_manifest(flat_release)
    assert (one.container, other.container) == ("parquet", "tar")
    assert one.generation_digest == other.generation_digest
    assert one.recipe_digest != other.recipe_digest


def test_columns_are_the_image_the_label_and_the_record(
    flat_release: Path, rows: list[dict[str, Any]]
) -> None:
    records = pq.read_table(flat_release / "provenance/train-00000.parquet").to_pylist()
    assert list(rows[0])[:3] == ["image", "label", "key"]
    for row, record in zip(rows, records, strict=True):
        plain = {name: [dict(item) for item in row[name]] if name == "sources" else row[name] for name in row}
        del plain["image"]
        assert {name: np.asarray(value).tolist() for name, value in plain.items()} == {
            name: np.asarray(value).tolist() for name, value in record.items()
        }


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_images_labels_and_records(
    parquet_release: Path, rows: list[dict[str, Any]], tmp_path: Path, streaming: bool
) -> None:
    loaded = load(parquet_release, tmp_path, streaming=streaming)
    features = loaded.features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == [item.name for item in read_manifest(parquet_release).classes]
    assert features["seed"].dtype == "int64"
    found = list(loaded)
    assert [row["key"] for row in found] == [key_of(index) for index in range(IMAGES)]
    assert [row["sources"] for row in found] == [list(row["sources"]) for row in rows]
    example = read_image(parquet_release, read_manifest(parquet_release), "5")
    assert np.array_equal(np.asarray(found[5]["image"]), np.asarray(example.pixels()))
    assert features["label"].int2str(found[5]["label"]) == found[5]["class_name"]


def test_a_shard_alone_is_known_to_hold_images(parquet_release: Path, tmp_path: Path) -> None:
    """As the Hub's viewer and whoever downloads one file see it."""
    shard = parquet_release / "data" / "train-00001.parquet"
    loaded = datasets.Dataset.from_parquet(str(shard), cache_dir=str(tmp_path))
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == (32, 32)


def test_row_groups_are_read_one_at_a_time(cli: Cli) -> None:
    larger = ("--set", "output.container=parquet", "--set", "output.shard_size=250")
    result = cli("build", cli.recipe("target_per_class: 32"), *FLAT, *larger)
    assert result.exit_code == 0, result.output
    release = cli.folder / "releases" / "small"
    manifest = read_manifest(release)
    metadata = pq.read_metadata(release / "data" / "train-00000.parquet")
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [100, 100, 50]
    stored = list(read_images(release, manifest))
    assert [item.record.key for item in stored] == [key_of(index) for index in range(manifest.images)]
    assert read_image(release, manifest, "249") == stored[249]
    assert cli("verify", release, "--deep").exit_code == 0
    found = synthetic_of(release)
    assert [found.read(index) for index in range(len(found))] == [item.image for item in stored]
    assert found.labels.tolist() == [item.record.label for item in stored]


def test_images_of_many_pages_are_found_at_their_places(
    flat_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_BYTES", 4_000_000)
    rng = np.random.default_rng(0)
    record = read_image(flat_release, read_manifest(flat_release), "0").record
    samples = [
        (msgspec.structs.replace(record, key=key_of(index), label=index), rng.bytes(300_000 + index))
        for index in range(40)
    ]
    shard = Shard(tmp_path / "train-00000.parquet", 0, "png", 2)
    with shard.path.open("wb") as stream:
        writer = parquet.Parquet().writer(stream, "png")
        for sample in samples:
            writer.write(*sample)
        writer.close()
    metadata = pq.read_metadata(shard.path)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [14, 14, 12]  # each ends with the image that makes it 4 MB
    content = shard.path.read_bytes()
    found = [(content[at : at + size], label) for at, size, label in parquet.Parquet().places(shard)]
    assert found == [(image, record.label) for record, image in samples]
    assert list(parquet.Parquet().read_all(shard)) == samples
    inspected = list(parquet.Parquet().inspect(shard, library_versions()))
    assert [(item.record, item.image, item.faults) for item in inspected] == [(*s, []) for s in samples]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_mix_reads_every_image_once(
    parquet_release: Path, tmp_path: Path, streaming: bool, workers: int
) -> None:
    synthetic = load(parquet_release, tmp_path, streaming=streaming)
    real = synthkit.real(parquet_release)
    loader = synthkit.mix(real, synthetic, batch_size=8, transform=numbers, num_workers=workers)
    labels = torch.cat([labels.view(2, -1)[1] if not streaming else labels[1::2] for _, labels in loader])
    wanted = [row["label"] for row in synthetic]
    assert sorted(labels.tolist()) == sorted(wanted)


@pytest.mark.parametrize("streaming", [False, True])
def test_mix_decodes_an_image_only_in_the_format_of_its_name(
    copy: Path, tmp_path: Path, streaming: bool
) -> None:
    forgery = Forgery.of(copy)
    forgery.repaint("000000003", lambda image: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + image)
    forgery.write()
    loader = synthkit.mix(
        synthkit.real(copy),
        load(copy, tmp_path, streaming=streaming),
        batch_size=2,
        transform=numbers,
    )
    with pytest.raises(
        ReleaseError, match=r"000000003\.png: cannot be read: it is not PNG, as its name says"
    ):
        list(loader)


def test_commands_read_it_as_they_read_tars(cli: Cli, parquet_release: Path, flat_release: Path) -> None:
    shown, known = (cli("show", release, "7").output for release in (parquet_release, flat_release))
    assert shown == known.replace(".tar", ".parquet") and "image      000000007 of small 1.2.3" in shown
    result = cli("replay", parquet_release, "7", "75")
    assert result.exit_code == 0 and "2 of 2 identical" in result.output
    told = cli("diff", flat_release, parquet_release).output
    assert "recipe output.container: tar -> parquet" in told
    assert f"{IMAGES} the same" in told, told


def test_an_audit_reads_it(cli: Cli, copy: Path) -> None:
    result = cli("audit", copy)
    assert result.exit_code == 0, result.output
    assert (copy / "audit.json").is_file()
    assert cli("verify", copy).exit_code == 0


def test_the_tar_of_the_same_image(flat_release: Path, rows: list[dict[str, Any]]) -> None:
    """What stands in the row is what stands in `KEY.cls` beside the image of a tar."""
    assert (
        read_member(flat_release / "data/train-00000.tar", "000000004.cls") == str(rows[4]["label"]).encode()
    )
