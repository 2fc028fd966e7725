"""croissant.json: mlcroissant validates it, and its records are the images with their provenance."""

from __future__ import annotations

import atexit
import io
import json
import os
import shutil
import tempfile

# mlcroissant keeps what it unpacks under a file's path in its data set: `data/train-00000.tar` of
# another release would be taken for this one's. Must be set before it is imported.
os.environ["CROISSANT_CACHE"] = tempfile.mkdtemp()

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.release.files import table_path
from tests.conftest import Cli
from tests.helpers.commands import run_build
from tests.helpers.forging import image_files

atexit.register(shutil.rmtree, os.environ["CROISSANT_CACHE"], ignore_errors=True)

RESPONSIBLE = (
    "dataCollection",
    "dataCollectionType",
    "dataCollectionRawData",
    "dataAnnotationProtocol",
    "dataPreprocessingProtocol",
    "dataUseCases",
    "dataLimitations",
    "dataBiases",
    "personalSensitiveInformation",
)


@pytest.fixture(autouse=True)
def nothing_unpacked() -> None:
    shutil.rmtree(Path(os.environ["CROISSANT_CACHE"]) / "extract", ignore_errors=True)


def opened(release: Path) -> Any:
    """The release as mlcroissant reads it, without an error in the format."""
    import mlcroissant

    dataset = mlcroissant.Dataset(str(release / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    return dataset


def records(release: Path) -> dict[str, Any]:
    """What mlcroissant yields, by key; bytes as text."""
    found = {}
    for record in opened(release).records("images"):
        named = {name.removeprefix("images/"): plain(value) for name, value in record.items()}
        found[named["key"]] = named
    return found


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return [plain(item) for item in value] if isinstance(value, list) else value


def provenance(release: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    return {row["key"]: row for row in pq.read_table(release / table_path(0)).to_pylist()}


def assert_the_same(release: Path) -> None:
    found, wanted, files = records(release), provenance(release), image_files(release)
    assert sorted(found) == sorted(wanted)
    extension = next(iter(files)).split(".")[1]
    for key, record in found.items():
        row = wanted[key]
        image = Image.open(io.BytesIO(files[f"{key}.{extension}"]))
        np.testing.assert_array_equal(np.asarray(record.pop("image")), np.asarray(image))
        assert record.pop("source_ids") == [source["id"] for source in row["sources"]]
        assert record.pop("source_sha256") == [source["sha256"] for source in row["sources"]]
        # It cannot read lists of lists, as the crops are.
        assert record == {name: value for name, value in row.items() if name not in ("sources", "crops")}


def test_the_records_are_all_images_with_their_labels_sources_and_seeds(small_release: Path) -> None:
    found = records(small_release)
    assert sorted(found) == [f"{index:09d}" for index in range(76)]
    assert {(record["label"], record["class_name"]) for record in found.values()} >= {
        (0, "zero"),
        (9, "nine"),
    }
    assert all(len(record["source_ids"]) == 2 for record in found.values())
    assert len({record["seed"] for record in found.values()}) == 76
    assert_the_same(small_release)


@pytest.mark.parametrize(
    ("method", "form", "shard_size"), [("cutmix", "jpeg", 2), ("text-only", "webp", 9), ("dropout", "png", 1)]
)
def test_releases_of_other_forms(cli: Cli, method: str, form: str, shard_size: int) -> None:
    values = (f"conditioning.method={method}", f"output.format={form}", f"output.shard_size={shard_size}")
    flags = [word for value in (*values, "sampler.steps=1") for word in ("--set", value)]
    run_build(cli, cli.recipe(), "--limit", "3", *flags)
    assert_the_same(cli.folder / "releases" / "small-preview")


def test_what_is_told_of_the_release(small_release: Path) -> None:
    metadata = opened(small_release).metadata
    assert metadata.name == "small"
    assert metadata.description == "A release for tests."
    assert str(metadata.version) == "1.2.3"
    assert metadata.license == ["cc-by-4.0"]
    manifest = json.loads((small_release / "manifest.json").read_text())
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    files = {file.id: file.sha256 for file in metadata.distribution if hasattr(file, "sha256")}
    shards = [f"data/train-{shard:05d}.tar" for shard in range(4)]
    assert {name: listed[name] for name in (*shards, table_path(0))} == {
        name: sha256 for name, sha256 in files.items() if sha256
    }


def test_origin_and_limits_are_told(small_release: Path) -> None:
    raw = json.loads((small_release / "croissant.json").read_text())
    assert raw["conformsTo"][1] == "http://mlcommons.org/croissant/RAI/1.0"
    said = {name: raw[f"rai:{name}"] for name in RESPONSIBLE}
    assert all(len(text) > 10 for text in said.values())
    assert "builtin:tiny-unclip-digits" in said["dataCollection"]
    assert "conditioned on 44 real images" in said["dataCollection"]
    assert "unbalanced (44 images, 2 to 8 a class)" in said["dataBiases"]
    metadata = opened(small_release).metadata
    assert metadata.data_biases == [said["dataBiases"]]
    assert metadata.data_collection == said["dataCollection"]
    assert metadata.data_limitations == [said["dataLimitations"]]


def test_words_that_json_must_escape_stay_as_they_are(cli: Cli) -> None:
    summary = 'Quotes " and \\ and <tags> and 日本.'
    recipe = cli.recipe(f"summary: '{summary}'")
    run_build(cli, recipe, "--limit", "1", "--set", "sampler.steps=1")
    assert opened(cli.folder / "releases" / "small-preview").metadata.description == summary


def test_a_damaged_shard_is_refused(small_release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_release, copy)
    shard = copy / "data" / "train-00002.tar"
    shard.write_bytes(shard.read_bytes().replace(b"nine", b"nein"))
    with pytest.raises(Exception, match=r"Download\(data/train-00002\.tar\)"):
        records(copy)
