"""Each layout, opened by the library that it is for: every image, its class, and its provenance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
import torchvision
from pycocotools.coco import COCO

import synthkit
from synthkit.exports.fiftyone import attributes
from synthkit.release.image import StoredImage
from tests.conftest import Cli

LAYOUTS = ("imagefolder", "parquet", "coco", "fiftyone")


@pytest.fixture(scope="module")
def stored(flat_release: Path) -> list[StoredImage]:
    return list(synthkit.open_release(flat_release, verify=False))


@pytest.fixture(scope="module")
def exported(flat_release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    return {to: synthkit.export(flat_release, to, folder / to).path for to in LAYOUTS}


def load(*arguments: Any, **options: Any) -> datasets.Dataset:
    return datasets.load_dataset(*arguments, split="train", **options)


def assert_rows(rows: datasets.Dataset, stored: list[StoredImage]) -> None:
    """Every image and every field of its record, under the record's names; labels have their names."""
    assert rows.features["label"].names[:3] == ["zero", "one", "two"]
    by_key = {row["key"]: row for row in rows}
    assert len(rows) == len(by_key) == len(stored)
    for item in stored:
        row = by_key[item.record.key]
        assert row.pop("image").convert("RGB") == item.pixels()
        assert row == json.loads(json.dumps(item.record.to_row()))


def test_datasets_loads_an_imagefolder(exported: dict[str, Path], stored: list[StoredImage]) -> None:
    assert_rows(load("imagefolder", data_dir=str(exported["imagefolder"])), stored)


def test_torchvision_numbers_the_folders_as_the_release_does(
    exported: dict[str, Path], stored: list[StoredImage]
) -> None:
    folder = torchvision.datasets.ImageFolder(exported["imagefolder"] / "train")
    assert folder.classes[9] == "0009_nine"
    labels = {Path(path).stem: label for path, label in folder.samples}
    assert labels == {item.record.key: item.record.label for item in stored}


def test_datasets_and_pandas_load_parquet(exported: dict[str, Path], stored: list[StoredImage]) -> None:
    data = exported["parquet"] / "data"
    assert [path.name for path in data.iterdir()] == ["train-00000-of-00001.parquet"]
    assert_rows(load("parquet", data_files=str(data / "*.parquet")), stored)
    # As the Hub does: from the folder alone.
    assert load(str(exported["parquet"])).features["image"] == datasets.Image()
    table = pd.read_parquet(data)
    assert table["image"][5]["bytes"] == stored[5].image
    assert table["seed"].tolist() == [item.record.seed for item in stored]


def test_pycocotools_reads_coco(
    exported: dict[str, Path], stored: list[StoredImage], capsys: pytest.CaptureFixture[str]
) -> None:
    coco = COCO(exported["coco"] / "annotations.json")
    assert {item["id"]: item["name"] for item in coco.loadCats(coco.getCatIds())}[10] == "nine"
    assert len(coco.getImgIds()) == len(stored)
    for item, image in zip(stored, coco.loadImgs(coco.getImgIds()), strict=True):
        (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert annotation["category_id"] == item.record.label + 1
        assert coco.annToMask(annotation).all()
        assert image["provenance"] == json.loads(json.dumps(item.record.to_row()))
        assert (exported["coco"] / image["file_name"]).read_bytes() == item.image
    assert coco.dataset["licenses"] == [
        {"id": 1, "name": "cc-by-4.0", "url": "https://spdx.org/licenses/CC-BY-4.0.html"}
    ]
    assert coco.dataset["info"]["version"] == "1.2.3"


def test_fiftyone_has_a_label_with_attributes_for_each_image(
    exported: dict[str, Path], stored: list[StoredImage]
) -> None:
    """As FiftyOne documents the format; FiftyOne itself needs a MongoDB, which is not here."""
    found = json.loads((exported["fiftyone"] / "labels.json").read_text())
    assert found["classes"][9] == "nine"
    assert list(found["labels"]) == [item.record.key for item in stored]
    for item in stored:
        record, label = item.record, found["labels"][item.record.key]
        assert label["label"] == record.class_name
        told = label["attributes"]
        assert (told["label_number"], told["seed"], told["lam"]) == (record.label, record.seed, record.lam)
        assert (told["source_1"], told["source_2_sha256"]) == (record.sources[0].id, record.sources[1].sha256)
        assert "rejected" not in told
        assert (exported["fiftyone"] / "data" / f"{record.key}.png").read_bytes() == item.image


def test_attributes_are_plain_and_named_after_what_they_are() -> None:
    row = {
        "label": 3,
        "crops": [[1, 2, 3, 4], [5, 6, 7, 8]],
        "region": [0, 9],
        "rejected": ["blank"],
        "scores": [
            {"name": "near_copy.similarity", "value": 0.5, "nearest": "a/1"},
            {"name": "blank.deviation", "value": 9.0, "nearest": ""},
        ],
        "candidates": [{"attempt": 0, "rank": 1, "log_odds": 2.5}],
        "prompt": "",
    }
    assert dict(attributes(row)) == {
        "label_number": 3,
        "crop_1": [1, 2, 3, 4],
        "crop_2": [5, 6, 7, 8],
        "region": [0, 9],
        "rejected": ["blank"],
        "score_near_copy_similarity": 0.5,
        "score_near_copy_similarity_nearest": "a/1",
        "score_blank_deviation": 9.0,
        "candidates": ['{"attempt": 0, "rank": 1, "log_odds": 2.5}'],
    }


def test_each_says_what_it_is_and_how_it_is_loaded(
    exported: dict[str, Path], flat_release: Path, cli: Cli
) -> None:
    for to, folder in exported.items():
        text = (folder / "README.md").read_text()
        assert text.startswith("# small 1.2.3\n\n76 synthetic images of 10 classes: ")
        assert "Licence: cc-by-4.0" in text
        assert synthkit.verify(flat_release).seal in text
        assert {"coco": "import pycocotools.coco", "fiftyone": "import fiftyone"}.get(
            to, "import datasets"
        ) in text
    result = cli("export", flat_release, "--to", "coco", "--out", "out dir")
    assert result.stdout == (
        'out dir: 76 images for coco\nLoad it in Python: pycocotools.coco.COCO("out dir/annotations.json")\n'
    )
    assert sorted(path.name for path in (cli.folder / "out dir").iterdir()) == [
        *("README.md", "annotations.json", "images"),
    ]


def test_a_release_in_parquet_is_exported_alike(
    parquet_release: Path, exported: dict[str, Path], tmp_path: Path
) -> None:
    folder = synthkit.export(parquet_release, "coco", tmp_path / "coco").path
    for path in sorted((exported["coco"] / "images").iterdir()):
        assert (folder / "images" / path.name).read_bytes() == path.read_bytes()
