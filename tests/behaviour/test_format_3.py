"""Format 3: records state how much the image counted against the text (`conditioning.scale`).

tests/data/make_release_format_3.sh made the release that is committed; its model is conditioned on tokens.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from synthkit.builder.drafts import read_draft, write_draft
from synthkit.errors import GeneratorError
from synthkit.generators.conditioning_check import check_scale
from synthkit.recipe.conditioning import Conditioning
from synthkit.recipe.load import load
from synthkit.recipe.model import Adapter
from synthkit.recipe.sampler import Sampler
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.release.records import Provenance3, read_record, record_schema
from synthkit.release.seeds import Stream, stream
from synthkit.release.shards import Origin
from tests.conftest import Cli, digests, read_member
from tests.helpers.forging import Forgery, faults_of
from tests.helpers.generating import recipe_of
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.paths import DATA, ROOT
from tests.helpers.records import RECORD
from tests.helpers.token_colours import registered, token_model

RELEASE = DATA / "release-format-3"
SHARDS = [RELEASE / "data" / f"train-{number:05d}.tar" for number in range(2)]
KEYS = [f"{key:09d}" for key in range(6)]
RECIPE = """\
name: weighed
source: {kind: digits, subset: [zero, one, two], max_per_class: 4}
synthetic_per_class: 4
conditioning: {method: embed-mixup, scale: [0.1, 0.9]}
model: {id: MODEL}
sampler: {batch_size: 4}
output: {shard_size: 8}
"""


@pytest.fixture(scope="module", autouse=True)
def _family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp("family") / "site"):
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release in which each image's weight is drawn."""
    cli = Cli(tmp_path_factory.mktemp("weighed"))
    model = token_model(cli.folder / "model")
    (cli.folder / "recipe.yaml").write_text(RECIPE.replace("MODEL", str(model)))
    told(cli, "build", "recipe.yaml", "--workers", "1")
    return cli


def told(cli: Cli, *arguments: str | Path) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def records_of(release: Path) -> list[Any]:
    import pyarrow.parquet as pq

    return [row for path in sorted(release.glob("provenance/*")) for row in pq.read_table(path).to_pylist()]


def weights_of(release: Path) -> list[float]:
    return [record["scale"] for record in records_of(release)]


# --- the committed release ---------------------------------------------------------------------------


def test_its_manifest() -> None:
    manifest = read_manifest(RELEASE)
    assert (manifest.format_version, manifest.generator.embedding) == (3, (17, 3))
    assert manifest.sealed() == manifest


@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_no_fault(deep: bool) -> None:
    assert faults_of(RELEASE, deep=deep) == []


def test_its_records() -> None:
    record = read_record(read_member(SHARDS[1], f"{KEYS[5]}.json"), 3)
    assert isinstance(record, Provenance3)
    assert 0.1 <= record.scale <= 0.9
    assert len(record.region) == 4
    schema = json.loads((ROOT / "synthkit" / "release" / "provenance-3.schema.json").read_text())
    assert schema == record_schema(3)
    assert schema["title"] == "synthkit provenance record, format 3"


def test_show_and_replay(cli: Cli, tmp_path: Path) -> None:
    weight = read_record(read_member(SHARDS[1], f"{KEYS[5]}.json"), 3).to_row()["scale"]
    assert f"weight   {weight:.3f}, of the image against the text" in told(cli, "show", RELEASE, KEYS[5])
    copy = shutil.copytree(RELEASE, tmp_path / "copy")
    model = token_model(tmp_path / "token-colours")
    replayed = cli("replay", copy, *KEYS[3:5], "--set", f"model.id={model}")
    # Another version of a library may give other bits, and says so; the records must hold all the same.
    assert f"{KEYS[3]}: " in replayed.output and f"{KEYS[4]}: " in replayed.output
    assert "but its record" not in replayed.output


def test_load_dataset(tmp_path: Path) -> None:
    from datasets import load_dataset

    samples: Any = load_dataset(str(RELEASE), split="train", cache_dir=str(tmp_path))
    assert samples["__key__"] == KEYS
    assert all(0.1 <= row["json"]["scale"] <= 0.9 for row in samples)


def test_it_is_published_and_pulled(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    release = shutil.copytree(RELEASE, tmp_path / "small")
    ran = synthkit("publish", release, "lab/small")
    assert ran.exit_code == 0, ran.output
    ran = synthkit("pull", "lab/small@v2.0.0", "--out", tmp_path / "pulled")
    assert ran.exit_code == 0, ran.output
    copy = tmp_path / "pulled" / "small"
    data = {path: digest for path, digest in digests(RELEASE).items() if path.startswith(("data", "prov"))}
    assert data.items() <= digests(copy).items()
    assert faults_of(copy) == []


# --- built now -----------------------------------------------------------------------------------------


def test_each_weight_is_drawn_from_the_images_seed(project: Cli) -> None:
    release = project.folder / "releases" / "weighed"
    assert read_manifest(release).format_version == 3
    for record in records_of(release):
        drawn = stream(record["seed"], Stream.SCALE).uniform(0.1, 0.9)
        assert record["scale"] == drawn
    told(project, "verify", release)
    replayed = told(project, "replay", release, "--sample", "12")
    assert "12 of 12 identical" in replayed


def test_the_weight_decides_the_image(project: Cli) -> None:
    def pixels(*settings: str) -> np.ndarray:
        told(project, "build", "recipe.yaml", "--out", settings[-1], *settings[:-1], "--workers", "1")
        release = project.folder / settings[-1] / "weighed"
        found = read_manifest(release)
        assert found.format_version == (2 if "null" in settings[1] else 3)
        told(project, "verify", release)
        return np.asarray(read_image(release, found, "3").pixels(), dtype=float)

    # Without an image all is the model's null, a grey; half of the weight is half of the way from there.
    whole = pixels("--set", "conditioning.scale=1", "whole")
    half = pixels("--set", "conditioning.scale=0.5", "half")
    none = pixels("--set", "conditioning.scale=0", "none")
    np.testing.assert_allclose(half, (whole + none) / 2, atol=1)
    np.testing.assert_array_equal(whole, pixels("--set", "conditioning.scale=null", "unweighed"))
    assert set(weights_of(project.folder / "half" / "weighed")) == {0.5}


def test_parquet_shards_and_growth(project: Cli) -> None:
    text = (project.folder / "recipe.yaml").read_text()
    text = text.replace("name: weighed", "name: grown").replace(
        "shard_size", "container: parquet, shard_size"
    )
    (project.folder / "grown.yaml").write_text(text)
    told(project, "build", "grown.yaml", "--workers", "1")
    release = project.folder / "releases" / "grown"
    told(project, "verify", release)
    before = weights_of(release)
    told(project, "grow", "grown.yaml", "--target", "6")
    told(project, "build", "grown.yaml", "--workers", "1")
    told(project, "verify", release)
    assert weights_of(release)[: len(before)] == before
    assert len(weights_of(release)) == 18


def test_a_release_of_format_2_does_not_grow_into_one_with_weights(project: Cli) -> None:
    text = (project.folder / "recipe.yaml").read_text().replace("name: weighed", "name: old")
    (project.folder / "old.yaml").write_text(text.replace(", scale: [0.1, 0.9]", ""))
    told(project, "build", "old.yaml", "--workers", "1")
    assert read_manifest(project.folder / "releases" / "old").format_version == 2
    (project.folder / "old.yaml").write_text(text)
    result = project("grow", "old.yaml", "--target", "6")
    assert result.exit_code == 1
    assert "was made with conditioning.scale None, the recipe says [0.1, 0.9]" in result.output


def test_forged_weights_and_formats_are_found(project: Cli, tmp_path: Path) -> None:
    release = shutil.copytree(project.folder / "releases" / "weighed", tmp_path / "copy")
    forgery = Forgery.of(release)
    forgery.change("000000003", scale=0.25)
    forgery.write()
    [fault] = faults_of(release)
    assert "000000003: its record's scale is 0.25, by its seed it is 0." in fault
    release = shutil.copytree(project.folder / "releases" / "weighed", tmp_path / "old")
    forgery = Forgery.of(release)
    forgery.manifest["format_version"] = 2
    forgery.seal()
    assert any("contains unknown field `scale`" in fault for fault in faults_of(release))


def test_a_release_says_the_format_of_its_recipe(flat_release: Path, tmp_path: Path) -> None:
    """Records with a weight that no recipe asked for."""
    release = shutil.copytree(flat_release, tmp_path / "copy")
    forgery = Forgery.of(release)
    manifest = read_manifest(release)
    forgery.manifest["format_version"] = 3
    forgery.manifest["recipe_digest"] = load(release / "recipe.yaml").digest(
        listing_digest=manifest.source.digest, model="", revision=manifest.generator.revision, form=3
    )
    for samples in forgery.shards.values():
        samples[:] = [
            (msgspec.convert({**r.to_row(), "scale": 0.5}, Provenance3), image) for r, image in samples
        ]
    forgery.write()
    assert any("says format_version is 3, by the recipe it is 2" in fault for fault in faults_of(release))


def test_a_draft_keeps_the_weights(tmp_path: Path) -> None:
    image = b"an image"
    row = {**RECORD.to_row(), "scale": 0.5, "image_sha256": hashlib.sha256(image).hexdigest()}
    made = {0: (msgspec.convert(row, Provenance3), image)}
    origin = Origin("a" * 64, {})
    write_draft(tmp_path / "a.draft", made, origin, "png")
    assert read_draft(tmp_path / "a.draft", origin, "png", 3) == made
    assert read_draft(tmp_path / "a.draft", origin, "png", 2) == {}


# --- what is refused -----------------------------------------------------------------------------------


def test_a_model_without_such_a_weight_is_refused(project: Cli) -> None:
    settings = ("--set", "model.id=builtin:flat-colours", "--out", "refused")
    result = project("build", "recipe.yaml", *settings)
    error = "conditioning.scale: how much the image counts against the text cannot be set for this model"
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, f"error: {error}; remove it")
    assert error in project("doctor", "recipe.yaml", *settings[:2]).output


def test_a_weight_for_all_images_beside_it_is_refused() -> None:
    """An adapter has one, for a model that takes its images through an adapter."""
    recipe = recipe_of(Sampler())
    adapter = Adapter(id="adapter", file="adapter.safetensors", scale=0.5)
    both = recipe.model_copy(
        update={
            "conditioning": Conditioning(scale=0.5),
            "model": recipe.model.model_copy(update={"adapter": adapter}),
        }
    )
    with pytest.raises(GeneratorError, match=r"^conditioning\.scale: model\.adapter\.scale is 0\.5 as well"):
        check_scale(both, weighs_images=True)
    alone = Adapter(id="adapter", file="adapter.safetensors")
    model = recipe.model.model_copy(update={"adapter": alone})
    check_scale(both.model_copy(update={"model": model}), weighs_images=True)


_WHAT = (
    "must be a number from 0 to 2, a range of two, such as [0.3, 0.7], or several, such as "
    "{choices: [0.5, 1.0]} or {levels: [0.5, 1.0]}"
)


@pytest.mark.parametrize(
    ("scale", "told_of"),
    [
        ("2.5", f"{_WHAT}, is 2.5"),
        ("[0.1]", f"{_WHAT}, is [0.1]"),
        ("[0.1, 0.5, 0.9]", f"{_WHAT}, is [0.1, 0.5, 0.9]"),
        ("[0.9, 0.1]", "must be a range from a lower to a higher number, is [0.9, 0.1]"),
        ("[0.5, 0.5]", "must be a range from a lower to a higher number, is [0.5, 0.5]"),
        (".nan", f"{_WHAT}, is nan"),
        ("low", f"{_WHAT}, is 'low'"),
        ("true", f"{_WHAT}, is True"),
        ("{choices: [0.5, 2.5]}", f"{_WHAT}, is {{'choices': [0.5, 2.5]}}"),
    ],
)
def test_what_is_no_weight_is_refused(project: Cli, scale: str, told_of: str) -> None:
    result = project("digest", "recipe.yaml", "--set", f"conditioning.scale={scale}")
    assert result.exit_code == 1
    assert f"conditioning.scale: {told_of}" in " ".join(result.output.split())


def test_a_weight_is_the_same_however_it_is_written() -> None:
    assert Conditioning.model_validate({"scale": [0, 1]}).scale == (0.0, 1.0)
    assert Conditioning.model_validate({"scale": 1}).model_dump(mode="json")["scale"] == 1.0
