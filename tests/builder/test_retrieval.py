"""What images are retrieved from: leaks of every kind, folders elsewhere, and pools that do not do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.builder.nearest import assign
from synthkit.release.manifest import read_manifest
from tests.conftest import Cli
from tests.helpers.commands import error_of, output_of
from tests.helpers.forging import faults_of

RECIPE = """\
name: found
source: {kind: folder, root: photos, halve: {}}
synthetic_per_class: 3
conditioning: {method: retrieval}
retrieval: {source: {kind: folder, root: %s}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {size: 8}
"""
CLASSES = ("reds", "blues")


def picture(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A picture of about one colour, wider than high."""
    noise = np.random.default_rng(seed).integers(-20, 20, (10, 14, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def project(tmp_path: Path) -> Cli:
    """Photos of two classes, and a folder elsewhere with others, of which all lie under one name."""
    cli = Cli(tmp_path / "project")
    for number in range(4):
        picture(cli.folder / f"photos/reds/{number}.png", (200, 30, 30), number)
        picture(cli.folder / f"photos/blues/{number}.png", (30, 30, 200), 100 + number)
    for number in range(6):
        picture(tmp_path / f"elsewhere/things/red-{number}.png", (180, 60, 50), 200 + number)
        picture(tmp_path / f"elsewhere/things/blue-{number}.png", (50, 60, 180), 300 + number)
    (cli.folder / "recipe.yaml").write_text(RECIPE % (tmp_path / "elsewhere"))
    return cli


def records_of(release: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(release / "provenance").sort_by("key").to_pylist()
    return rows


def test_labels_of_the_pool_are_not_used(project: Cli) -> None:
    output_of(project, "build", "recipe.yaml")
    for record in records_of(project.folder / "releases/found"):
        colour = record["class_name"].removesuffix("s")
        assert record["retrieved_id"].startswith(f"things/{colour}-")
        assert record["prompt"] == record["scheduler"].removeprefix("none") == ""


def test_copies_in_the_pool_are_left_out_whatever_they_are_called(project: Cli) -> None:
    """Every photo is a training or a held-out one: the other half."""
    pool = project.folder.parent / "elsewhere" / "more"
    pool.mkdir()
    for path in sorted(project.folder.glob("photos/*/*.png")):
        shutil.copy(path, pool / f"{path.parent.name}-{path.name}")
    shutil.copy(pool.parent / "things/red-0.png", pool / "again.png")
    built = output_of(project, "build", "recipe.yaml")
    facts = read_manifest(project.folder / "releases/found").retrieval
    assert facts is not None
    assert (facts.images, facts.candidates, facts.own, facts.held_out, facts.repeated) == (21, 12, 4, 4, 1)
    assert "1 images of the pool are left out: they have the content of another one" in built
    for record in records_of(project.folder / "releases/found"):
        assert "s-" not in record["retrieved_id"]
    assert faults_of(project.folder / "releases/found") == []


def test_held_out_images_that_are_not_here_are_said_to_be_unknown(project: Cli) -> None:
    built = output_of(project, "build", "recipe.yaml", "--set", "source.halve=null")
    assert "held-out images are not on this machine, so that none of them could be left out" in built
    card = (project.folder / "releases/found/README.md").read_text()
    assert "held-out images could not be looked for" in card


def test_a_release_names_no_folder_of_this_machine_and_is_replayed(project: Cli) -> None:
    output_of(project, "build", "recipe.yaml")
    release = project.folder / "releases/found"
    recipe = (release / "recipe.yaml").read_text()
    assert "--set source.root" not in recipe.splitlines()[0]
    assert "    root: elsewhere" in recipe
    assert str(project.folder.parent) not in "".join(
        path.read_text(errors="ignore") for path in release.rglob("*") if path.is_file()
    )
    # The work root remembers where the pool is.
    assert "2 of 2 identical" in output_of(project, "replay", release, "1", "4")
    elsewhere = Cli(project.folder.parent / "another")
    elsewhere.folder.mkdir()
    shutil.move(release, elsewhere.folder / "found")
    shutil.copytree(project.folder / "photos", elsewhere.folder / "photos")
    line = error_of(elsewhere, "replay", "found", "1")
    assert line.startswith("error: retrieval.source.root: there is no folder elsewhere")
    assert "--set retrieval.source.root=…" in line
    told = output_of(elsewhere, "replay", "found", "1", "--set", "retrieval.source.root=../elsewhere")
    assert "1 of 1 identical" in told
    changed = project.folder.parent / "elsewhere" / records_of(elsewhere.folder / "found")[1]["retrieved_id"]
    picture(changed, (1, 2, 3), 9)
    line = error_of(elsewhere, "replay", "found", "1", "--set", "retrieval.source.root=../elsewhere")
    assert "this is another image; get the original data set" in line


@pytest.mark.parametrize("root", ["/etc", "../up", "~/mine"])
def test_a_release_may_not_name_a_pool_anywhere(project: Cli, root: str) -> None:
    output_of(project, "build", "recipe.yaml")
    release = project.folder / "releases/found"
    recipe = release / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("    root: elsewhere", f"    root: {root}"))
    assert any(f"recipe.yaml: retrieval.source.root: '{root}' " in fault for fault in faults_of(release))
    line = error_of(project, "replay", release, "1")
    assert f"retrieval.source.root: '{root}' " in line
    assert line.endswith("nothing was opened: ask whoever made the release")


def test_an_audit_compares_them_with_the_real_ones(project: Cli) -> None:
    output_of(project, "build", "recipe.yaml")
    release = project.folder / "releases/found"
    output_of(project, "audit", release)
    assert json.loads((release / "audit.json").read_text())["images"] == 6
    assert faults_of(release) == []


# --- which are nearest -------------------------------------------------------------------------------


def test_assignments_are_those_of_all_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    for case in range(100):
        images, classes = int(rng.integers(1, 30)), int(rng.integers(1, 6))
        near = rng.integers(0, 5 if case % 2 else 1000, (images, classes)) / 1000
        wanted = rng.multinomial(rng.integers(images + 1), np.ones(classes) / classes)
        ids = [f"{name}" for name in rng.permutation(images)]
        pairs = sorted((-near[i, c], ids[i], c, i) for i in range(images) for c in range(classes))
        expected: list[list[int]] = [[] for _ in range(classes)]
        taken = set()
        for _, _, label, image in pairs:
            if image not in taken and len(expected[label]) < wanted[label]:
                taken.add(image)
                expected[label].append(image)
        assert [some.tolist() for some in assign(near, ids, wanted)] == expected


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("retrieval=null", "retrieval: is missing: conditioning.method retrieval takes images of a second"),
        ("conditioning.method=dropout", "retrieval: is for conditioning.method: retrieval, which is dropout"),
        ("filters={blank: {}}", "retrieval: goes without filters: an image cannot be drawn again"),
        ("prompts=['a {name}']", "retrieval: goes without prompts: nothing reads text; remove prompts"),
        ("conditioning.scale=0.5", "retrieval: goes without conditioning.scale: there is no text"),
        ("sampler.cache={every: 2}", "retrieval: goes without sampler.cache: nothing is sampled"),
        ("grown=[1]", "retrieval: goes without grown: with a higher target an image may go to another"),
        ("retrieval.source={kind: digits, shots: 1, all_but_shots: true}", "none of them may be retrieved"),
        ("retrieval={}", "retrieval.source: is missing"),
        ("synthetic_per_class=7", "has 12 images to retrieve, and 14 are needed, each at most once"),
        ("retrieval.source.root=nowhere", "retrieval.source.root: there is no folder nowhere"),
        ("retrieval.source.root=empty", "retrieval.source.root: "),
        ("retrieval.source.subset=[dogs]", "retrieval.source.subset: there is no class 'dogs'"),
    ],
)
def test_what_cannot_be_retrieved_is_refused_in_a_line(project: Cli, setting: str, said: str) -> None:
    (project.folder / "empty").mkdir()
    for command in ("build", "plan"):
        result = project(command, "recipe.yaml", "--set", setting)
        assert result.exit_code == 1
        assert said in " ".join(result.output.split()), result.output
        assert len(result.output.splitlines()) <= 2
    assert not (project.folder / "releases").exists()


def test_a_pool_that_leaks_make_too_small_is_refused(project: Cli) -> None:
    result = project("build", "recipe.yaml", "--set", "retrieval.source.root=photos")
    assert result.exit_code == 1
    line = result.output.splitlines()[-1]
    assert line.startswith("error: retrieval.source: has 0 images to retrieve (4 images of the pool are left")
    assert "4 images of the pool are left out: they are held-out images" in line
    assert "and 6 are needed" in line


def test_pictures_of_methods_are_of_generated_images(project: Cli) -> None:
    line = error_of(project, "methods", "recipe.yaml")
    assert "conditioning.method: retrieval makes no images to draw" in line
