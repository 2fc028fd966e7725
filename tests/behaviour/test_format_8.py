"""Format 8: images are retrieved from another source (`conditioning.method: retrieval`), not generated.

tests/data/make_release_format_8.sh made the release that is committed.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from synthkit.conformance.builds import BUILDS, BuildCase
from synthkit.generators.flat import FlatColours
from synthkit.recipe.load import load
from synthkit.recipe.sampler import Sampler
from synthkit.release.image import read_image
from synthkit.release.manifest import read_manifest
from synthkit.release.plan import make_plan
from synthkit.release.records import Provenance8, record_schema
from synthkit.release.shard_reader import read_samples
from synthkit.sources import held_out, open_source
from synthkit.sources.base import load_image
from tests.conftest import Cli, digests
from tests.helpers.commands import output_of
from tests.helpers.forging import Forgery, faults_of, image_files
from tests.helpers.paths import DATA, ROOT

RELEASE = DATA / "release-format-8"
RECIPE = """\
name: found
source: {kind: digits, subset: [zero, one, two], max_per_class: 4}
synthetic_per_class: 9
conditioning: {method: retrieval}
retrieval: {source: {kind: digits, part: all, subset: [zero, one, two, seven]}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 14}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release of real digits, retrieved from all digits of some classes."""
    cli = Cli(tmp_path_factory.mktemp("found"))
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    (cli.folder / "built.txt").write_text(output_of(cli, "build", "recipe.yaml", "--workers", "1"))
    return cli


@pytest.fixture
def copy(project: Cli, tmp_path: Path) -> Path:
    """A copy of that release, to be forged."""
    return Path(shutil.copytree(project.folder / "releases" / "found", tmp_path / "found"))


def records_of(release: Path) -> list[Provenance8]:
    found: list[Any] = []
    for path in sorted(release.glob("data/*.tar")):
        found += [record for record, _ in read_samples(path, len(found), "png", 8)]
    return found


def embedded(source: Any) -> np.ndarray[Any, Any]:
    """The embeddings of a source's images, each of length 1."""
    images = [load_image(source, index) for index in range(len(source.listing))]
    embeddings = FlatColours(8, Sampler()).embed_images(images).astype(np.float64)
    unit: np.ndarray[Any, Any] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit


# --- the committed release ---------------------------------------------------------------------------


def test_what_it_is() -> None:
    manifest = read_manifest(RELEASE)
    assert (manifest.format_version, manifest.images) == (8, 6)
    assert manifest.sealed() == manifest
    assert manifest.retrieval is not None
    assert (manifest.retrieval.images, manifest.retrieval.candidates) == (30, 30)
    assert {record.steps for record in records_of(RELEASE)} == {0}
    assert faults_of(RELEASE, deep=True) == []


def test_its_schema_is_shipped(cli: Cli) -> None:
    schema = json.loads((ROOT / "synthkit" / "release" / "provenance-8.schema.json").read_text())
    assert schema == record_schema(8) == json.loads(cli("schema", "provenance-8").output)
    assert sorted(schema["required"]) == sorted(Provenance8.__struct_fields__)


# --- built now ---------------------------------------------------------------------------------------


def test_each_class_has_the_nearest_images_that_are_free(project: Cli) -> None:
    """As by hand: all pairs of an image and a class, the nearest first, and each taken if it can be."""
    recipe = load(project.folder / "recipe.yaml")
    assert recipe.retrieval is not None
    real, pool = open_source(recipe.source), open_source(recipe.retrieval.source)
    scoring = open_source(held_out(recipe.source))
    banned = {*real.listing.ids, *scoring.listing.ids}
    means = np.stack([embedded(real)[real.listing.labels == label].mean(axis=0) for label in range(3)])
    near = embedded(pool) @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    pairs = sorted(
        (-round(near[place, label], 6), name, label)
        for place, name in enumerate(pool.listing.ids)
        for label in range(3)
        if name not in banned
    )
    wanted: dict[int, list[tuple[str, float]]] = {0: [], 1: [], 2: []}
    taken = set()
    for value, name, label in pairs:
        if name not in taken and len(wanted[label]) < 9:
            taken.add(name)
            wanted[label].append((name, -value))
    plan, found = make_plan(recipe, real.listing), records_of(project.folder / "releases" / "found")
    assert [record.label for record in found] == plan.labels.tolist()
    for label in range(3):
        got = [(item.retrieved_id, item.similarity) for item in found if item.label == label]
        got.sort(key=lambda item: (-item[1], item[0]))
        assert [name for name, _ in got] == [name for name, _ in wanted[label]]
        assert [value for _, value in got] == pytest.approx([value for _, value in wanted[label]], abs=2e-6)


def test_leaks_are_left_out_and_told(project: Cli) -> None:
    manifest = read_manifest(project.folder / "releases" / "found")
    pool = manifest.retrieval
    assert pool is not None
    assert (pool.own, pool.held_out, pool.repeated) == (manifest.source.images, 90, 0)
    assert pool.candidates == pool.images - pool.own - 90
    built = (project.folder / "built.txt").read_text()
    assert f"retrieval: {pool.own} images of the pool are left out: they are training images" in built
    assert "retrieval: 90 images of the pool are left out: they are held-out images, which score" in built


def test_images_are_squares_of_the_real_ones(project: Cli) -> None:
    release = project.folder / "releases" / "found"
    recipe, manifest = load(project.folder / "recipe.yaml"), read_manifest(release)
    assert recipe.retrieval is not None
    pool = open_source(recipe.retrieval.source)
    for record in records_of(release)[:5]:
        image = load_image(pool, pool.listing.ids.index(record.retrieved_id))
        square = ImageOps.fit(image, (manifest.width,) * 2, Image.Resampling.LANCZOS)
        stored = read_image(release, manifest, record.key)
        assert np.array_equal(np.asarray(stored.pixels()), np.asarray(square))


def test_nothing_calls_them_synthetic(project: Cli) -> None:
    release = project.folder / "releases" / "found"
    for content in image_files(release).values():
        assert b"synthkit:RetrievedId" in content
        assert b"trainedAlgorithmicMedia" not in content
    card, metadata = (release / "README.md").read_text(), json.loads((release / "croissant.json").read_text())
    assert "**None is generated: they are real images of another source** (`digits`)" in card
    assert "**The images are those of another source: its licence and terms hold for them**" in card
    assert "The method is retrieval (Geng et al., [arXiv 2406.05184]" in card
    assert "| Their labels | not used |" in card
    assert "Sampler" not in card
    # But in the title of the paper, and in what they are compared with.
    without = re.sub(
        "The Unmet Promise of Synthetic Training Images|comparing synthetic|synthetic ones", "", card
    )
    assert "ynthetic" not in without
    said = re.sub("The Unmet Promise of Synthetic Training Images|synthetic ones", "", json.dumps(metadata))
    assert "ynthetic" not in said.replace("hasSyntheticData", "")
    assert metadata["rai:hasSyntheticData"] is False
    assert metadata["prov:wasDerivedFrom"][0]["prov:label"].startswith("716 real images")


def test_it_is_told(project: Cli) -> None:
    release, record = project.folder / "releases" / "found", records_of(project.folder / "releases/found")[3]
    shown = output_of(project, "show", release)
    assert "  left out   9 training images, 90 held-out images, 0 repeated ones" in shown
    assert "synthetic" not in shown
    assert "sampler" not in shown
    shown = output_of(project, "show", release, record.key, "--picture", "history.png")
    assert f"the real image {record.retrieved_id}, sha256 {record.retrieved_sha256}" in shown
    assert f"cosine similarity {record.similarity:g} to the mean of the class's real images" in shown
    assert "steps" not in shown
    with Image.open(project.folder / "history.png") as picture:
        assert picture.width > 500


@pytest.mark.parametrize("check", BUILDS, ids=lambda check: check.__name__)
def test_builds(check: Any, project: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Shared by workers, stopped and resumed: the same files; every image is read again."""
    folder = tmp_path_factory.getbasetemp() / "retrieved-builds"
    folder.mkdir(exist_ok=True)
    check(BuildCase(load(project.folder / "recipe.yaml"), folder))


def test_parts_and_a_preview_have_what_the_whole_has(project: Cli) -> None:
    whole = project.folder / "releases" / "found"
    for part in ("1/2", "2/2"):
        output_of(project, "build", "recipe.yaml", "--shards", part, "--out", "parts", "--workers", "1")
    output_of(project, "merge", "recipe.yaml", "--out", "parts")
    assert digests(project.folder / "parts" / "found") == digests(whole)
    output_of(project, "build", "recipe.yaml", "--limit", "5", "--out", "few")
    few = records_of(project.folder / "few" / "found-preview")
    assert few == records_of(whole)[:5]
    assert faults_of(project.folder / "few" / "found-preview") == []


def test_plan_tells_no_cost_of_sampling(project: Cli) -> None:
    told = json.loads(output_of(project, "plan", "recipe.yaml", "--json"))
    assert told["pool"] == {"images": 716}
    assert "sampling" not in told
    told = " ".join(output_of(project, "plan", "recipe.yaml").split())
    assert "Retrieved from 716 real images of another source, each used at most once" in told
    assert "pool" in output_of(project, "doctor", "recipe.yaml")


def test_the_time_of_retrieving_is_not_that_of_generating(project: Cli) -> None:
    generated = ("--set", "conditioning.method=dropout", "--set", "retrieval=null")
    assert json.loads(output_of(project, "plan", "recipe.yaml", "--json"))["estimate"]["seconds"] is not None
    told = json.loads(output_of(project, "plan", "recipe.yaml", "--json", *generated))
    assert told["estimate"]["seconds"] is None


def test_it_does_not_grow(project: Cli) -> None:
    told = project("grow", "recipe.yaml", "--target", "12")
    assert told.exit_code == 1
    assert "retrieval: goes without grown" in " ".join(told.output.split())


def test_retrieved_images_do_not_score(project: Cli) -> None:
    """Of another part for evaluation than the one that was left out, some were retrieved."""
    options = ("--protocol", "digits-lt", "--set", "evaluation.part=validation")
    told = project("eval", "releases/found", *options)
    assert told.exit_code == 1
    assert re.search(
        r"leak: 5 of \d+ evaluation images may have been learned from: digits/\d+ has", told.output
    )
    assert "has the content of retrieved image 0000000" in told.output


# --- forged ------------------------------------------------------------------------------------------


def test_forged_records_are_found(copy: Path) -> None:
    first, second, *_ = (record for record in records_of(copy) if record.label == 1)
    forgery = Forgery.of(copy)
    forgery.change(second.key, retrieved_id=first.retrieved_id, retrieved_sha256=first.retrieved_sha256)
    forgery.write()
    assert any(
        f"{second.key}: its record retrieves the same image as {first.key}" in line
        for line in faults_of(copy)
    )


def test_a_forged_similarity_is_found(copy: Path) -> None:
    of_class = [record for record in records_of(copy) if record.label == 1]
    last = min(of_class, key=lambda record: record.similarity)
    forgery = Forgery.of(copy)
    forgery.change(last.key, similarity=1.0)
    forgery.write()
    assert any(
        f"{last.key}: its record's similarity is 1, by the plan it is at most that of" in line
        for line in faults_of(copy)
    )


def test_a_replay_finds_another_image_and_another_similarity(project: Cli, copy: Path) -> None:
    """What fits all that the release holds, only the pool shows."""
    of_class = [record for record in records_of(copy) if record.label == 1]
    last = min(of_class, key=lambda record: record.similarity)
    forgery = Forgery.of(copy)
    forgery.change(last.key, similarity=round(last.similarity - 0.01, 6))
    forgery.write()
    assert faults_of(copy) == []
    told = project("replay", copy, last.key)
    assert told.exit_code == 1
    assert f"its record's similarity is {last.similarity - 0.01:g}, made again it is" in told.output
    forgery.change(last.key, retrieved_sha256="a" * 64)
    forgery.write()
    told = project("replay", copy, last.key)
    assert told.exit_code == 1
    assert f"{last.retrieved_id} has sha256 {last.retrieved_sha256[:16]}… here" in told.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"own": 0}, "says that its pool has 716 images, and its counts give another number"),
        ({"kind": "folder"}, "says retrieval.kind is folder, by the recipe it is digits"),
        ({"candidates_digest": "a" * 64}, "has digest"),
        (None, "lacks retrieval, and its method is retrieval"),
    ],
)
def test_a_forged_manifest_is_found(copy: Path, change: dict[str, Any] | None, said: str) -> None:
    forgery = Forgery.of(copy)
    pool = forgery.manifest["retrieval"]
    forgery.manifest["retrieval"] = None if change is None else pool | change
    forgery.seal()
    assert any(said in fault for fault in faults_of(copy)), faults_of(copy)
