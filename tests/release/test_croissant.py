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

from synthkit.release.croissant import describe, render_croissant
from synthkit.release.facts import AuditFacts, FilterFacts, GeneratorFacts, PartFacts, SkippedFacts
from synthkit.release.files import table_path
from synthkit.release.licenses import license_url
from synthkit.release.manifest import read_manifest
from tests.conftest import FLAT, Cli
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
    "dataSocialImpact",
)


@pytest.fixture(autouse=True)
def nothing_unpacked() -> None:
    shutil.rmtree(Path(os.environ["CROISSANT_CACHE"]) / "extract", ignore_errors=True)


def opened(release: Path) -> Any:
    """The release as mlcroissant reads it, without an error or a warning."""
    import mlcroissant

    dataset = mlcroissant.Dataset(str(release / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    return dataset


def told(release: Path, **changes: Any) -> dict[str, Any]:
    """The metadata of a release whose manifest says something else."""
    return describe(read_manifest(release).model_copy(update=changes))


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

    tables = map(pq.read_table, sorted((release / "provenance").glob("*.parquet")))
    return {row["key"]: row for table in tables for row in table.to_pylist()}


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
        for name, part in (("names", "name"), ("values", "value"), ("nearest", "nearest")):
            assert record.pop(f"score_{name}") == [score[part] for score in row["scores"]]
        # It cannot read lists of lists, as the crops are.
        assert record == {
            name: value for name, value in row.items() if name not in ("sources", "crops", "scores")
        }


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
    gates = "filters={blank: {}, near_copy: {}, max_draws: 2}"
    flags = [word for value in (*values, gates, "sampler.steps=1") for word in ("--set", value)]
    run_build(cli, cli.recipe(), "--limit", "3", *FLAT, *flags)
    assert_the_same(cli.folder / "releases" / "small-preview")


def test_the_records_of_parquet_are_those_of_tars(parquet_release: Path, flat_release: Path) -> None:
    found = records(parquet_release)
    images = {key: np.asarray(record.pop("image")) for key, record in found.items()}
    wanted = records(flat_release)
    for key, record in wanted.items():
        np.testing.assert_array_equal(images[key], np.asarray(record.pop("image")))
    assert found == wanted


def test_what_is_told_of_the_release(small_release: Path) -> None:
    metadata = opened(small_release).metadata
    assert metadata.name == "small"
    assert metadata.description == "A release for tests."
    assert str(metadata.version) == "1.2.3"
    assert metadata.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert metadata.date_published.isoformat().startswith("2026-12-01")
    assert metadata.cite_as.startswith("@misc{small,")
    assert metadata.creators == []
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
    assert raw["rai:hasSyntheticData"] is True
    assert "builtin:tiny-unclip-digits" in said["dataCollection"]
    assert "conditioned on 44 real images" in said["dataCollection"]
    assert "unbalanced (44 images, 2 to 8 a class)" in said["dataBiases"]
    metadata = opened(small_release).metadata
    assert metadata.data_biases == [said["dataBiases"]]
    assert metadata.data_collection == said["dataCollection"]
    assert metadata.data_limitations == [said["dataLimitations"]]


def test_words_that_json_must_escape_stay_as_they_are(flat_release: Path) -> None:
    import mlcroissant

    summary = 'Quotes " and \\ and <tags> and 日本.'
    manifest = read_manifest(flat_release).model_copy(update={"summary": summary})
    document = json.loads(render_croissant(manifest))
    assert mlcroissant.Dataset(document).metadata.description == summary


def test_nothing_is_logged_when_it_is_read(flat_release: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert opened(flat_release).metadata.ctx.is_v1_1()
    assert caplog.records == []


def test_a_release_without_a_day_lacks_only_that(flat_release: Path) -> None:
    import mlcroissant

    issues = mlcroissant.Dataset(told(flat_release, released=None)).metadata.ctx.issues
    assert not issues.errors
    (warning,) = issues.warnings
    assert "datePublished" in warning


def test_a_damaged_shard_is_refused(small_release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_release, copy)
    shard = copy / "data" / "train-00002.tar"
    shard.write_bytes(shard.read_bytes().replace(b"nine", b"nein"))
    with pytest.raises(Exception, match=r"Download\(data/train-00002\.tar\)"):
        records(copy)


def test_whoever_is_given_the_metadata_changes_no_other_release(flat_release: Path) -> None:
    before = json.dumps(told(flat_release))
    told(flat_release)["@context"]["data"]["@id"] = "changed"
    assert json.dumps(told(flat_release)) == before


def test_what_is_not_known_is_said_to_be_unknown(flat_release: Path) -> None:
    document = told(flat_release)
    assert "How many images copy a real one is unknown" in document["rai:dataLimitations"]
    assert "No quality gate" in document["rai:dataLimitations"]
    assert document["rai:personalSensitiveInformation"].startswith("Unknown: ")
    assert document["rai:dataSocialImpact"].startswith("Not assessed. ")
    assert "is unknown: neither was examined" in document["rai:dataBiases"]
    assert "where they can be had is not stated" in document["rai:dataCollectionRawData"]
    assert "Who maintains the data set is not stated." in document["rai:dataReleaseMaintenancePlan"]


def test_what_is_known_is_told(flat_release: Path) -> None:
    audit = AuditFacts(
        images=76,
        pool=44,
        held_out=300,
        similarity=0.98,
        distance=2,
        suspected=3,
        suspected_of_held_out=1,
        exact=1,
    )
    gates = FilterFacts(redrawn=5, rejected_draws=7, kept_although_rejected=2, reasons={"blank": 7})
    skipped = [SkippedFacts(id="a.png", reason="is cut short")]
    document = told(flat_release, audit=audit, filters=gates, skipped=skipped)
    limits = document["rai:dataLimitations"]
    assert (
        "compared the images with 44 real ones and suspects 3 of 76 to be copies, 1 of them exact" in limits
    )
    assert "gates rejected 7 draws; 2 images are kept although no draw passed" in limits
    assert document["rai:dataCollectionMissingData"].startswith("1 real image(s) could not be read")


def test_it_says_what_the_images_come_from(flat_release: Path) -> None:
    part = PartFacts(
        role="unet",
        repository="lab/model",
        revision="a" * 40,
        file="unet/x y.safetensors",
        bytes=7,
        sha256="b" * 64,
        license="mit",
    )
    here = part.model_copy(update={"repository": "models/mine", "revision": "", "license": "lab-only"})
    generator = GeneratorFacts(name="lab/model", revision="c" * 64, dtype="float32", parts=[part, here])
    source = read_manifest(flat_release).source.model_copy(update={"repository": "ylecun/mnist"})
    real, unet, other = told(flat_release, generator=generator, source=source)["prov:wasDerivedFrom"]
    assert real["@id"] == "https://huggingface.co/datasets/ylecun/mnist"
    assert real["identifier"] == f"sha256:{source.digest}"
    assert unet["@id"] == f"https://huggingface.co/lab/model/blob/{'a' * 40}/unet/x%20y.safetensors"
    assert (unet["sha256"], unet["license"]) == ("b" * 64, "https://spdx.org/licenses/MIT.html")
    assert "@id" not in other
    assert other["license"] == "lab-only"
    derived = told(flat_release, method="text-only")["prov:wasDerivedFrom"]
    names = [entity["prov:label"] for entity in derived]
    assert names == ["model_index.json (pipeline) of the model builtin:flat-colours"]


def test_it_says_what_made_the_images(flat_release: Path) -> None:
    manifest = read_manifest(flat_release)
    (activity,) = describe(manifest)["prov:wasGeneratedBy"]
    assert activity["@type"] == "prov:Activity"
    assert activity["prov:wasAssociatedWith"]["prov:label"] == f"synthkit {manifest.environment['synthkit']}"
    used = activity["prov:used"]["identifier"]
    assert used == [
        f"recipe digest sha256:{manifest.recipe_digest}",
        f"generation digest sha256:{manifest.generation_digest}",
    ]


def test_a_release_that_grew_has_all_records_and_an_activity_for_each_block(cli: Cli) -> None:
    run_build(cli, cli.recipe("grown: [9]"), *FLAT, "--set", "output.shard_size=8")
    release = cli.folder / "releases" / "small"
    assert_the_same(release)
    raw = json.loads((release / "croissant.json").read_text())
    labels = [activity["prov:label"] for activity in raw["prov:wasGeneratedBy"]]
    assert labels == [f"Generation of {images} images by embed-cutmix-dropout" for images in (46, 30)]


def test_the_account_of_a_published_release_is_its_creator(flat_release: Path) -> None:
    document = told(flat_release, repo_id="lab/digits")
    assert document["url"] == "https://huggingface.co/datasets/lab/digits"
    assert document["creator"] == {
        "@type": "sc:Organization",
        "name": "lab",
        "url": "https://huggingface.co/lab",
    }


@pytest.mark.parametrize(
    ("word", "url"),
    [
        ("cc-by-4.0", "https://spdx.org/licenses/CC-BY-4.0.html"),
        ("apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
        ("odbl", "https://spdx.org/licenses/ODbL-1.0.html"),
        ("creativeml-openrail-m", "https://huggingface.co/spaces/CompVis/stable-diffusion-license"),
        ("other", "other"),
        ("my own licence", "my own licence"),
    ],
)
def test_the_hubs_words_for_licences_become_addresses(word: str, url: str) -> None:
    assert license_url(word) == url
