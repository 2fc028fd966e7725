"""Formats 6 and 7: records state how far the start of their image was noised (`conditioning.strength`).

tests/data/make_release_format_6.sh made the releases that are committed; those of format 7 were chosen from
several draws.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from synthkit.errors import GeneratorError
from synthkit.generators.base import check_without_text
from synthkit.levels import Choices
from synthkit.recipe.conditioning import Conditioning
from synthkit.recipe.load import load
from synthkit.release.manifest import read_manifest
from synthkit.release.records import Provenance6, Provenance7, record_schema
from synthkit.release.seeds import Stream, attempt_seed, stream
from synthkit.release.shard_reader import read_samples
from tests.conftest import Cli, digests
from tests.helpers.forging import Forgery, faults_of
from tests.helpers.paths import DATA, ROOT
from tests.helpers.token_colours import registered, token_model

RELEASES = {form: DATA / f"release-format-{form}" for form in (6, 7)}
KINDS = {6: Provenance6, 7: Provenance7}
STRENGTHS = (0.25, 0.5, 1.0)
RECIPE = """\
name: begun
source: {kind: digits, subset: [zero, one, two], max_per_class: 4}
synthetic_per_class: 6
conditioning: {method: real-guidance, strength: {choices: [0.25, 0.5, 1.0]}}
model: {id: "builtin:flat-colours"}
sampler: {batch_size: 4}
output: {shard_size: 9}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release whose images begin from real ones, each at a strength that is drawn."""
    cli = Cli(tmp_path_factory.mktemp("begun"))
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    told(cli, "build", "recipe.yaml", "--workers", "1")
    return cli


def told(cli: Cli, *arguments: str | Path) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def records_of(release: Path) -> list[Any]:
    form, found = read_manifest(release).format_version, list[Any]()
    for path in sorted(release.glob("data/*.tar")):
        found += [record for record, _ in read_samples(path, len(found), "png", form)]
    return found


# --- the committed releases --------------------------------------------------------------------------


@pytest.mark.parametrize("form", RELEASES)
def test_what_they_are(form: int) -> None:
    manifest = read_manifest(RELEASES[form])
    assert (manifest.format_version, manifest.images) == (form, 6)
    assert manifest.strength == (Choices(STRENGTHS) if form == 6 else (0.3, 0.7))
    assert manifest.sealed() == manifest
    for record in records_of(RELEASES[form]):
        assert isinstance(record, KINDS[form])
        assert record.strength in STRENGTHS if form == 6 else 0.3 <= record.strength <= 0.7
    assert faults_of(RELEASES[form], deep=True) == []


@pytest.mark.parametrize("form", RELEASES)
def test_its_schema_is_shipped(cli: Cli, form: int) -> None:
    schema = json.loads((ROOT / "synthkit" / "release" / f"provenance-{form}.schema.json").read_text())
    assert schema == record_schema(form) == json.loads(cli("schema", f"provenance-{form}").output)
    assert sorted(schema["required"]) == sorted(KINDS[form].__struct_fields__)


# --- built now ---------------------------------------------------------------------------------------


def test_each_strength_is_drawn_from_the_images_seed(project: Cli) -> None:
    release = project.folder / "releases" / "begun"
    records = records_of(release)
    for record in records:
        drawn = stream(attempt_seed(record.seed, record.attempt), Stream.STRENGTH).integers(3)
        assert record.strength == STRENGTHS[drawn]
        assert len(record.sources) == 1
    assert {record.strength for record in records} == set(STRENGTHS)
    assert "18 of 18 identical" in told(project, "replay", release, "--sample", "18")
    told(project, "verify", release)


def test_it_is_told(project: Cli) -> None:
    release = project.folder / "releases" / "begun"
    words = "one of 0.25, 0.5, 1 for each image"
    assert f"strength   {words}" in told(project, "show", release)
    card = (release / "README.md").read_text()
    assert f"| Strength | {words}: the share of the steps that run from the real image |" in card
    assert "The method is Real Guidance (He et al., [arXiv 2210.07574]" in card
    assert "augmented conditioning" not in card + (release / "croissant.json").read_text()
    record = records_of(release)[3]
    left = int(30 * record.strength)
    shown = told(project, "show", release, record.key)
    assert f"noised at strength {record.strength:.3f}: the last {left} of 30 steps" in shown
    told(project, "show", release, record.key, "--picture", "history.png")
    assert (project.folder / "history.png").stat().st_size > 1000


def test_a_build_in_two_parts_is_the_same(project: Cli) -> None:
    """Their draws are sorted by where they begin; no image depends on that."""
    whole = digests(project.folder / "releases" / "begun")
    for part in ("1/2", "2/2"):
        told(project, "build", "recipe.yaml", "--shards", part, "--out", "parts", "--workers", "1")
    told(project, "merge", "recipe.yaml", "--out", "parts")
    assert digests(project.folder / "parts" / "begun") == whole


def test_forged_strengths_are_found(project: Cli, tmp_path: Path) -> None:
    release = shutil.copytree(project.folder / "releases" / "begun", tmp_path / "copy")
    forgery = Forgery.of(release)
    forgery.change("000000003", strength=0.75)
    forgery.write()
    [fault] = faults_of(release)
    assert "000000003: its record's strength is 0.75, by its seed it is " in fault
    release = shutil.copytree(project.folder / "releases" / "begun", tmp_path / "told")
    forgery = Forgery.of(release)
    forgery.manifest["strength"] = 0.5
    forgery.seal()
    assert any("says strength is 0.5, by the recipe it is " in fault for fault in faults_of(release))


# --- what is refused ---------------------------------------------------------------------------------

_WHAT = (
    "must be a number above 0 and at most 1, a range of two, such as [0.3, 0.7], or several, such as "
    "{choices: [0.25, 0.5]} or {levels: [0.25, 0.5]}"
)
_RANGE = "must be a range from a lower to a higher number"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("strength=0", f"strength: {_WHAT}, is 0"),
        ("strength=1.5", f"strength: {_WHAT}, is 1.5"),
        ("strength=true", f"strength: {_WHAT}, is True"),
        ("strength=.nan", f"strength: {_WHAT}, is nan"),
        ("strength=[0.25, 0.5, 1.0]", f"strength: {_WHAT}, is [0.25, 0.5, 1.0]"),
        ("strength=[0.7, 0.3]", f"strength: {_RANGE}, is [0.7, 0.3]; choices are written"),
        ("strength={choices: []}", f"strength: {_WHAT}, is {{'choices': []}}"),
        ("strength={choices: [0.5, 0.5]}", "strength: has a number twice"),
        ("strength={from: 0.3, to: 0.7}", f"strength: {_WHAT}, is {{"),
        ("strength=null", "strength: is missing: real-guidance begins from a real image"),
        ("method=dropout", "strength: is for methods that begin from a real image (real-guidance, da-"),
        ("scale=0.5", "scale: real-guidance is conditioned on the prompt alone"),
    ],
)
def test_what_is_no_strength_is_refused(project: Cli, setting: str, said: str) -> None:
    result = project("digest", "recipe.yaml", "--set", f"conditioning.{setting}")
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["sampler.steps=3"],
            "conditioning.strength: 0.25 of sampler.steps=3 leaves no step to run; use at least 0.334, or "
            "more steps",
        ),
        (
            ["conditioning.strength=0.03"],
            "conditioning.strength: 0.03 of sampler.steps=30 leaves no step to run; use at least 0.034, or "
            "more steps",
        ),
    ],
)
def test_a_strength_that_leaves_no_step_is_refused(project: Cli, settings: list[str], said: str) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    result = project("build", "recipe.yaml", *words, "--out", "refused")
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, f"error: {said}")


def test_a_model_that_cannot_begin_from_an_image_is_refused(project: Cli, tmp_path: Path) -> None:
    with registered(tmp_path / "site"):
        model = token_model(tmp_path / "model")
        result = project("build", "recipe.yaml", "--set", f"model.id={model}", "--out", "refused")
    told_of = (
        "conditioning.method: real-guidance begins from a real image, and this model has no image-to-image"
    )
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(f"error: {told_of} way here; use another method")


def test_a_model_that_reads_no_text_is_refused(project: Cli) -> None:
    recipe = load(project.folder / "recipe.yaml")
    with pytest.raises(GeneratorError, match=r"^conditioning\.method: real-guidance is for models that read"):
        check_without_text(recipe)


def test_a_strength_is_the_same_however_it_is_written() -> None:
    def written(strength: Any) -> Any:
        found = Conditioning.model_validate({"method": "real-guidance", "strength": strength})
        assert Conditioning.model_validate(found.model_dump()) == found
        return found.model_dump(mode="json")["strength"]

    assert written(1) == 1.0
    assert written([0.5, 1]) == [0.5, 1.0]
    assert written({"choices": [1, 0.5]}) == {"choices": [1.0, 0.5]}
