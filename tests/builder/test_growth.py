"""A release that grows keeps its images to the byte; only what is new is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from synthkit.release.manifest import read_manifest
from tests.conftest import Cli
from tests.helpers.forging import faults_of

RECIPE = """\
# What is drawn
name: flat
version: 1.0.0  # the first
license: cc-by-4.0
source: {kind: folder, root: photos, groups: {many_above: 4, few_below: 2}}
target_per_class: 200  # in all
model: {id: builtin:flat-colours}
sampler: {steps: 1, batch_size: 8}
output: {shard_size: 64, size: 16}
"""
CLASSES = ("birch", "cedar", "elm")


def add_class(folder: Path, name: str, images: int = 3) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(images):
        seed = sum(name.encode()) + number
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{number}.png")


def files(release: Path) -> dict[str, bytes]:
    paths = (path for path in release.rglob("*") if path.is_file())
    return {path.relative_to(release).as_posix(): path.read_bytes() for path in paths}


def ok(cli: Cli, *command: Any) -> str:
    result = cli(*command)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(cli: Cli, *command: Any) -> str:
    result = cli(*command)
    assert result.exit_code == 1, result.output
    line: str = result.output.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a recipe and the release 1.0.0 of 591 images. Copy it."""
    folder = tmp_path_factory.mktemp("first")
    for name in CLASSES:
        add_class(folder / "photos", name)
    (folder / "flat.yaml").write_text(RECIPE)
    cli = Cli(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ok(cli, "build", "flat.yaml")
    return folder


@pytest.fixture
def flat(first: Path, cli: Cli) -> Cli:
    shutil.copytree(first, cli.folder, dirs_exist_ok=True)
    return cli


@pytest.fixture
def release(flat: Cli) -> Path:
    return flat.folder / "releases" / "flat"


def test_a_tenth_more_images_cost_a_tenth(flat: Cli, release: Path) -> None:
    before = files(release)
    told = ok(flat, "grow", "flat.yaml", "--target", "220")
    assert "flat grows from 1.0.0 to 1.1.0: 60 new images behind the 591 it has" in told
    assert "651 images in 11 shard(s), 60 of them new" in ok(flat, "plan", "flat.yaml")
    assert "651 images in 11 shard(s), 60 of them made now" in ok(flat, "build", "flat.yaml")
    after = files(release)
    same = {name for name in before if name.startswith(("data/", "provenance/"))}
    assert len(same) == 11
    assert all(after[name] == before[name] for name in same)
    sent = sum(len(content) for name, content in after.items() if before.get(name) != content)
    images = sum(len(content) for name, content in before.items() if name in same)
    pictures_and_texts = sum(len(content) for name, content in after.items() if "/" not in name)
    assert sent - pictures_and_texts <= 0.11 * images
    assert faults_of(release, deep=True) == []
    assert "up to date" in ok(flat, "build", "flat.yaml")


def test_a_grown_release_is_written_again_with_the_images_that_it_has(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "220")
    ok(flat, "build", "flat.yaml")
    shutil.rmtree(flat.folder / ".synthkit")
    told = ok(flat, "build", "flat.yaml", "--set", "summary=Trees.")
    assert "took 591 images of version 1.1.0 as they are" in told
    assert "651 images in 11 shard(s), 60 of them made now" in told
    assert read_manifest(release).summary == "Trees."
    assert faults_of(release) == []


def test_a_version_number_stands_for_one_release(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "220")
    before = files(release)
    # As dvc.yaml builds, while the work folder still has all earlier shards.
    command = ("build", "flat.yaml", "--overwrite", "--set")
    assert "version is 1.0.0; raise it" in refused(flat, *command, "version=1.0.0")
    assert "seed is 1 now, and was 0" in refused(flat, *command, "seed=1")
    assert files(release) == before


def test_growing_and_building_at_once_give_the_same_bytes(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "210")
    ok(flat, "build", "flat.yaml")
    ok(flat, "grow", "flat.yaml", "--target", "230")
    assert yaml.safe_load((flat.folder / "flat.yaml").read_text())["grown"] == [200, 210]
    ok(flat, "build", "flat.yaml", "--workers", "2")
    ok(flat, "build", release / "recipe.yaml", "--out", "again", "--set", "source.root=photos")
    assert files(flat.folder / "again" / "flat") == files(release)
    assert [block.images for block in read_manifest(release).grown] == [591, 30]


@pytest.mark.slow
def test_from_the_release_alone_or_another_copy_of_it(flat: Cli, release: Path) -> None:
    shutil.rmtree(flat.folder / ".synthkit")
    pulled = flat.folder / "pulled"
    shutil.copytree(release, pulled)
    ok(flat, "grow", "flat.yaml", "--target", "220")
    assert "took 591 images of version 1.0.0 as they are" in ok(flat, "build", "flat.yaml")
    grown = files(release)
    command = ("build", "flat.yaml", "--out", "elsewhere")
    assert "591 images of version 1.0.0" in ok(flat, *command, "--earlier", pulled)
    assert files(flat.folder / "elsewhere" / "flat") == grown
    nowhere = ("build", "flat.yaml", "--out", "nothing-there", "--earlier", "nowhere")
    assert "no such folder" in refused(flat, *nowhere)
    told = ok(flat, "build", "flat.yaml", "--out", "nothing-there")
    assert "no earlier version to take images from" in told
    assert "651 of them made now" in told
    assert files(flat.folder / "nothing-there" / "flat") == grown


def test_blocks_may_come_from_different_environments(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "205")
    for sidecar in flat.folder.glob(".synthkit/flat-*/shards/*.json"):
        facts = json.loads(sidecar.read_text())
        facts["origin"]["environment"]["torch"] = "2.0.0"
        sidecar.write_text(json.dumps(facts))
    ok(flat, "build", "flat.yaml")
    manifest = read_manifest(release)
    assert manifest.environments[0]["torch"] == "2.0.0" != manifest.environments[1]["torch"]
    assert faults_of(release) == []


def test_added_classes_come_behind_those_that_are_there(flat: Cli, release: Path) -> None:
    before = files(release)
    add_class(flat.folder / "photos", "ash")
    add_class(flat.folder / "photos", "yew", 5)
    told = ok(flat, "grow", "flat.yaml")
    assert "392 new images behind the 591 it has; 2 new classes: ash, yew" in told
    text = (flat.folder / "flat.yaml").read_text()
    assert "# What is drawn\n" in text
    assert "version: 1.1.0  # the first\n" in text
    assert "target_per_class: 200  # in all\n" in text
    written = yaml.safe_load(text)
    assert written["grown"] == [{"target": 200, "classes": 3}]
    assert written["source"]["class_order"] == list(CLASSES)
    ok(flat, "build", "flat.yaml")
    manifest = read_manifest(release)
    assert [item.name for item in manifest.classes] == [*CLASSES, "ash", "yew"]
    assert [item.synthetic for item in manifest.classes] == [197, 197, 197, 197, 195]
    after = files(release)
    assert all(after[name] == before[name] for name in before if name.startswith("data/"))
    assert faults_of(release) == []


@pytest.mark.parametrize(
    "filters",
    [
        "max_draws: 3, near_copy: {max_similarity: 0.92}, label_agreement: {max_rank: 1}",
        pytest.param("prefer: {draws: 2}, near_copy: {max_similarity: 0.92}", marks=pytest.mark.slow),
    ],
)
def test_gates_compare_earlier_images_with_the_real_images_of_then(flat: Cli, filters: str) -> None:
    gates = f"filters: {{{filters}}}\n"
    (flat.folder / "flat.yaml").write_text(RECIPE.replace("200", "20") + gates)
    ok(flat, "build", "flat.yaml", "--out", "grown")
    add_class(flat.folder / "photos", "ash")
    add_class(flat.folder / "photos", "yew", 5)
    ok(flat, "grow", "flat.yaml", "--earlier", "grown/flat")
    ok(flat, "build", "flat.yaml", "--out", "grown")
    ok(flat, "build", "flat.yaml", "--out", "anew")
    assert files(flat.folder / "anew" / "flat") == files(flat.folder / "grown" / "flat")


@pytest.mark.slow
def test_parts_are_of_what_is_new_and_merge_takes_the_rest(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "300")
    for part in ("1/2", "2/2"):
        told = ok(flat, "build", "flat.yaml", "--out", f"node{part[0]}", "--shards", part)
    assert "part 2/2 is finished, 3 of 15 shards" in told
    shutil.rmtree(flat.folder / ".synthkit")
    assert "--earlier" in refused(flat, "merge", "flat.yaml", "node1", "node2", "--out", "other")
    assert "0 of them made now" in ok(flat, "merge", "flat.yaml", "node1", "node2")
    assert faults_of(release) == []


def test_diff_says_that_it_grew(flat: Cli, release: Path) -> None:
    shutil.copytree(release, flat.folder / "old")
    ok(flat, "grow", "flat.yaml", "--target", "201")
    ok(flat, "build", "flat.yaml")
    assert ok(flat, "diff", "old", release).endswith("  grown by 3 images, nothing else changed\n")
    assert json.loads(ok(flat, "diff", "old", release, "--json"))["grown"] is True
    ok(flat, "build", "flat.yaml", "--set", "summary=Trees.")
    assert "grown by 3 images, the 591 images before are the same" in ok(flat, "diff", "old", release)


@pytest.mark.parametrize(
    "source",
    [
        "source:  # mine\n    kind: folder\n    # there\n    root: photos\n    groups: {few_below: 2}\n",
        "source:\n kind: folder\n root: photos\n groups:\n  few_below: 2\n\n",
    ],
)
def test_a_recipe_keeps_its_indentation_and_comments(flat: Cli, release: Path, source: str) -> None:
    add_class(flat.folder / "photos", "ash")
    rest = "".join(line for line in RECIPE.splitlines(True) if not line.startswith("source:"))
    recipe = flat.folder / "flat.yaml"
    recipe.write_text(rest + source + "# the end\n")
    ok(flat, "grow", "flat.yaml")
    text = recipe.read_text()
    assert set(source.splitlines()) < set(text.splitlines())
    assert text.endswith("# the end\n")
    assert yaml.safe_load(text)["source"]["class_order"] == list(CLASSES)


def test_a_recipe_in_braces_stays_as_it_is(flat: Cli, release: Path) -> None:
    recipe = flat.folder / "flat.json"
    recipe.write_text(json.dumps(yaml.safe_load(RECIPE), indent=1))
    before = recipe.read_text()
    line = refused(flat, "grow", recipe, "--target", "220")
    assert line.endswith("yourself: version: 1.1.0, target_per_class: 220, grown: [200]")
    assert recipe.read_text() == before


def test_a_batch_size_that_was_measured_may_grow(flat: Cli) -> None:
    recipe = flat.folder / "flat.yaml"
    recipe.write_text(RECIPE.replace("batch_size: 8", "batch_size: auto").replace("200", "5"))
    ok(flat, "build", "flat.yaml", "--out", "auto")
    ok(flat, "grow", "flat.yaml", "--earlier", "auto/flat", "--target", "6")
    assert "9 images in 2 shard(s), 3 of them made now" in ok(flat, "build", "flat.yaml", "--out", "auto")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("grown=[100]", "grown must begin with [200], which that version asked for"),
        ("grown=[200, 300]", "grown: the target now is 220, below 300 of entry 2"),
        ("grown=[240, 200]", "grown: entry 2 of grown is 200, below 240 of entry 1"),
        ("target_per_class=150", "grown: the target now is 150, below 200 of entry 1"),
        ("grown=[{target: 200, classes: 2}]", "grown must begin with [200]"),
        ("grown=[{target: 200, classes: 4}]", "grown: entry 1 has 4 classes, there are 3"),
        ("version=1.0.0", "version is 1.0.0; raise it"),
        ("conditioning.alpha=2", "conditioning.alpha is 2.0 now, and was 1.0"),
        ("output.shard_size=32", "output.shard_size is 32 now, and was 64"),
        ("source.limit_per_class=2", "class 'birch' had 3 real images and has 2"),
        ("source.subset=[cedar, elm]", "its class 0 is 'birch', and now is 'cedar'"),
    ],
)
def test_what_is_no_later_version(flat: Cli, release: Path, change: str, reason: str) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "220")
    before = files(release)
    assert reason in refused(flat, "build", "flat.yaml", "--set", change)
    assert files(release) == before


def test_the_way_of_counting_stays(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "220")
    counts = ("--set", "target_per_class=null", "--set", "synthetic_per_class=220")
    assert "one counts by target_per_class" in refused(flat, "build", "flat.yaml", *counts)


def test_an_earlier_release_that_was_changed_is_not_taken(flat: Cli, release: Path) -> None:
    shutil.rmtree(flat.folder / ".synthkit")
    ok(flat, "grow", "flat.yaml", "--target", "220")
    shard = release / "data" / "train-00003.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.unlink()
    shard.write_bytes(content)
    line = refused(flat, "build", "flat.yaml")
    assert "data/train-00003.tar: has sha256" in line
    assert "the earlier version must be as it was published" in line
    assert shard.read_bytes() == content


def test_a_real_image_that_changed(flat: Cli, release: Path) -> None:
    ok(flat, "grow", "flat.yaml", "--target", "220")
    Image.new("RGB", (12, 12)).save(flat.folder / "photos" / "elm" / "1.png")
    assert "was made from other real images than there are now" in refused(flat, "build", "flat.yaml")


def test_grow_refuses_what_it_cannot_grow(flat: Cli, release: Path) -> None:
    text = (flat.folder / "flat.yaml").read_text()
    assert "--target 150: flat 1.0.0 has 200 already" in refused(flat, "grow", "flat.yaml", "--target", "150")
    assert "target_per_class 200: flat 1.0.0 has 200 already" in refused(flat, "grow", "flat.yaml")
    assert "no such folder" in refused(flat, "grow", "flat.yaml", "--earlier", "nowhere")
    more = ("grow", "flat.yaml", "--target", "300")
    assert "--version 1.0.0: must be above 1.0.0" in refused(flat, *more, "--version", "1.0.0")
    assert "version: '1.0.0-01' does not fit" in refused(flat, *more, "--version", "1.0.0-01")
    add_class(flat.folder / "photos", "elm", 4)
    assert "class 'elm' had 3 real images and has 4" in refused(flat, *more)
    shutil.move(flat.folder / "photos" / "elm", flat.folder / "elm")
    assert "class 'elm' of the release is missing" in refused(flat, "grow", "flat.yaml", "--target", "300")
    assert (flat.folder / "flat.yaml").read_text() == text
    (flat.folder / "flat.yaml").write_text(text + "seed: 5\n")
    assert "was made with seed 0, the recipe says 5" in refused(flat, "grow", "flat.yaml", "--target", "300")


def test_without_growing_a_higher_target_says_how(flat: Cli, release: Path) -> None:
    line = refused(flat, "build", "flat.yaml", "--set", "target_per_class=220")
    assert "to keep its images and add to them, run synthkit grow with the recipe" in line
