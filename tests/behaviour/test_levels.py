"""Levels: every real image is taken at each of several strengths, or weights against the text.

Source: Liang et al., Diffusion Curriculum, arXiv 2410.13674.
"""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synthkit.levels import Choices, Levels
from synthkit.recipe.conditioning import Conditioning
from synthkit.recipe.load import load
from synthkit.release.manifest import read_manifest
from synthkit.release.plan import balance, block_counts, numbers_in_class
from synthkit.sources import open_source
from tests.conftest import Cli, digests
from tests.helpers.forging import Forgery, faults_of
from tests.helpers.token_colours import registered, token_model

STRENGTHS = (1.0, 0.7, 0.4)
RECIPE = """\
name: leveled
source: {kind: digits, subset: [zero, one, two], max_per_class: 4}
synthetic_per_class: 14
conditioning: {method: real-guidance, strength: {levels: [1.0, 0.7, 0.4]}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 17}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release that has every real image at three strengths."""
    cli = Cli(tmp_path_factory.mktemp("leveled"))
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    told(cli, "build", "recipe.yaml", "--workers", "1")
    return cli


def told(cli: Cli, *arguments: str | Path) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def records_of(release: Path) -> list[Any]:
    import pyarrow.parquet as pq

    return [row for path in sorted(release.glob("provenance/*")) for row in pq.read_table(path).to_pylist()]


def in_order_of_plan(cli: Cli, recipe: str, release: Path) -> dict[int, list[Any]]:
    """The records of each class, in the order in which its images are planned."""
    read = load(cli.folder / recipe)
    counts = block_counts(read, balance(read, open_source(read.source).listing))
    found: dict[int, dict[int, Any]] = {}
    for number, record in zip(numbers_in_class(read.seed, counts), records_of(release), strict=True):
        found.setdefault(record["label"], {})[int(number)] = record
    return {label: [numbered[number] for number in sorted(numbered)] for label, numbered in found.items()}


def test_every_real_image_stands_at_every_level(project: Cli) -> None:
    release = project.folder / "releases" / "leveled"
    manifest = read_manifest(release)
    assert (manifest.format_version, manifest.strength) == (6, Levels(STRENGTHS))
    assert [item.real for item in manifest.classes] == [4, 3, 2]
    for label, records in in_order_of_plan(project, "recipe.yaml", release).items():
        assert [record["strength"] for record in records] == [STRENGTHS[n % 3] for n in range(14)]
        named, real = [record["sources"][0]["id"] for record in records], manifest.classes[label].real
        # A real image at all levels, then the next; after all of the class, the first again.
        assert named == [named[3 * (n // 3 % real)] for n in range(14)]
        assert len(set(named)) == real
        assert len({record["seed"] for record in records}) == 14
    told(project, "verify", release)
    assert "42 of 42 identical" in told(project, "replay", release, "--sample", "42")


def test_it_is_told(project: Cli) -> None:
    release = project.folder / "releases" / "leveled"
    words = "every real image at each of 1, 0.7, 0.4"
    assert f"strength   {words}" in told(project, "show", release)
    card = (release / "README.md").read_text()
    assert f"| Strength | {words}: the share of the steps that run from the real image |" in card
    record = records_of(release)[5]
    assert f"noised at strength {record['strength']:.3f}" in told(project, "show", release, record["key"])


def test_parts_and_a_grown_release_keep_the_levels(project: Cli) -> None:
    whole = digests(project.folder / "releases" / "leveled")
    for part in ("1/2", "2/2"):
        told(project, "build", "recipe.yaml", "--shards", part, "--out", "parts", "--workers", "1")
    told(project, "merge", "recipe.yaml", "--out", "parts")
    assert digests(project.folder / "parts" / "leveled") == whole
    (project.folder / "grown.yaml").write_text(RECIPE.replace("name: leveled", "name: grown"))
    told(project, "build", "grown.yaml", "--workers", "1")
    told(project, "grow", "grown.yaml", "--target", "16")
    told(project, "build", "grown.yaml", "--workers", "1")
    release = project.folder / "releases" / "grown"
    told(project, "verify", release)
    for records in in_order_of_plan(project, "grown.yaml", release).values():
        assert [record["strength"] for record in records] == [STRENGTHS[n % 3] for n in range(16)]


def test_a_forged_level_is_found(project: Cli, tmp_path: Path) -> None:
    release = shutil.copytree(project.folder / "releases" / "leveled", tmp_path / "copy")
    record = records_of(release)[3]
    other = next(level for level in STRENGTHS if level != record["strength"])
    forgery = Forgery.of(release)
    forgery.change(record["key"], strength=other)
    forgery.write()
    [fault] = faults_of(release)
    said = f"strength is {other:g}, by the plan it is {record['strength']:g}"
    assert f"{record['key']}: its record's {said}" in fault
    replayed = project("replay", release, record["key"])
    assert (
        f"its record's strength is {other:.4g}, made again it is {record['strength']:.4g}" in replayed.output
    )


def test_weights_are_levels_too_and_pairs_stay_together(project: Cli, tmp_path: Path) -> None:
    with registered(tmp_path / "site"):
        model = token_model(project.folder / "model")
        text = RECIPE.replace("name: leveled", "name: weighed").replace('"builtin:flat-colours"', str(model))
        how = "{method: embed-mixup, scale: {levels: [0.5, 1.0]}}"
        text = text.replace("{method: real-guidance, strength: {levels: [1.0, 0.7, 0.4]}}", how)
        (project.folder / "weighed.yaml").write_text(text.replace("class: 14", "class: 6"))
        told(project, "build", "weighed.yaml", "--workers", "1")
        release = project.folder / "releases" / "weighed"
        told(project, "verify", release)
        manifest = read_manifest(release)
        assert (manifest.format_version, manifest.scale) == (3, Levels((0.5, 1.0)))
        for records in in_order_of_plan(project, "weighed.yaml", release).values():
            assert [record["scale"] for record in records] == [0.5, 1.0] * 3
            assert records[0]["sources"] == records[1]["sources"] != records[2]["sources"]
        drawn = ("--set", "name=drawn", "--set", "conditioning.scale={choices: [0.5, 1.0]}")
        told(project, "build", "weighed.yaml", *drawn, "--workers", "1")
        told(project, "verify", project.folder / "releases" / "drawn")
    scales = Counter(record["scale"] for record in records_of(project.folder / "releases" / "drawn"))
    assert set(scales) == {0.5, 1.0} and scales.total() == 18
    assert read_manifest(project.folder / "releases" / "drawn").scale == Choices((0.5, 1.0))
    words = "every real image at each of 0.5, 1"
    assert f"weight {words}" in " ".join(told(project, "show", release).split())
    assert f"| Weight of the image | {words}: how much" in (release / "README.md").read_text()


def test_a_weight_that_is_not_one_of_several_is_not_in_the_manifest() -> None:
    for scale in (0.5, (0.1, 0.9), None):
        assert Conditioning(scale=scale).scale_of_several is None


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "strength={levels: [0.5]}",
            "strength: has one level alone: {'levels': [0.5]}; name two or",
        ),
        ("strength={levels: [0.5, 0.5]}", "strength: has a number twice: {'levels': [0.5, 0.5]}; every real"),
        ("strength={levels: [0.5, 1.5]}", "{levels: [0.25, 0.5]}, is {'levels': [0.5, 1.5]}"),
        ("strength={levels: []}", "{levels: [0.25, 0.5]}, is {'levels': []}"),
        ("strength={levels: 0.5}", "{levels: [0.25, 0.5]}, is {'levels': 0.5}"),
        ("strength={levels: [0.5, 1], choices: [0.5, 1]}", "is {'levels': [0.5, 1], 'choices': [0.5, 1]}"),
        ("scale={levels: [0.5, 1.0]}", "scale: real-guidance is conditioned on the prompt alone, so"),
        ("method=dropout", "strength: is for methods that begin from a real image"),
    ],
)
def test_what_are_no_levels_is_refused(project: Cli, setting: str, said: str) -> None:
    result = project("digest", "recipe.yaml", "--set", f"conditioning.{setting}")
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


def test_levels_of_no_real_image_are_refused() -> None:
    with pytest.raises(ValueError, match="scale: levels are those of real images, and text-only is"):
        Conditioning.model_validate({"method": "text-only", "scale": {"levels": [0.5, 1.0]}})
