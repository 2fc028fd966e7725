"""What a user writes in a recipe, and what she is told when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthkit.errors import RecipeError
from synthkit.recipe.json_schema import json_schema
from synthkit.recipe.load import load
from synthkit.recipe.portable import portable_path
from synthkit.recipe.sampler import AUTO
from synthkit.recipe.schema import Recipe
from synthkit.release.manifest import Manifest
from tests.helpers.paths import ROOT
from tests.recipe.conftest import MINIMAL

SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_recipes_are_valid_and_name_their_schema(path: Path) -> None:
    load(path)
    assert path.read_text().startswith("# yaml-language-server: $schema=recipe.schema.json\n")


def test_defaults_are_the_papers(write: Any) -> None:
    recipe = load(write(MINIMAL))
    assert recipe.conditioning.model_dump() == {
        "method": "embed-cutmix-dropout",
        "alpha": 1.0,
        "dropout": 0.4,
        "drops": "coordinates",
        "scale": None,
        "strength": None,
        "rescale": False,
    }
    sampler = recipe.sampler
    assert (sampler.scheduler, sampler.steps, sampler.guidance_scale, sampler.noise_level) == (
        "pndm",
        30,
        10,
        0,
    )


def test_set_overrides_any_field_and_wins_over_the_file(write: Any) -> None:
    path = write(MINIMAL)
    recipe = load(path, ["conditioning.method=dropout", "sampler.steps=5", "seed=3", "hub.repo_id=me/mine"])
    assert recipe.conditioning.method == "dropout"
    assert (recipe.sampler.steps, recipe.seed, recipe.hub.repo_id) == (5, 3, "me/mine")


def test_all_errors_at_once_each_with_path_line_and_nearest_name(write: Any) -> None:
    path = write(
        MINIMAL
        + """\
conditioning:
  metod: dropout
  alpha: -1
sampler:
  steps: many
  scheduler: pndn
sede: 3
"""
    )
    lines = refused(path).splitlines()
    assert lines[0] == f"{path}: 5 errors"
    assert [line.strip().removeprefix(f"{path}: ") for line in lines[1:]] == [
        "line 8: conditioning.metod: unknown key (did you mean method?)",
        "line 9: conditioning.alpha: must be more than 0, is -1",
        "line 11: sampler.steps: must be a whole number, is 'many'",
        "line 12: sampler.scheduler: must be one of pndm, ddim, dpm-solver++, unipc, euler, "
        "euler-trailing, lcm, ddpm, flow-euler; is 'pndn' (did you mean pndm?)",
        "line 13: sede: unknown key (did you mean seed?)",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("model.id=", "model.id: must be text"),
        ("target_per_class=0", "target_per_class: must be at least 1, is 0"),
        ("target_per_class=1.5", "target_per_class: must be a whole number, is 1.5"),
        ("target_per_class=true", "target_per_class: must be a whole number, is true"),
        (
            "target_per_class=1e3",
            "target_per_class: must be a whole number, is '1e3': YAML reads this as text; write 1000",
        ),
        ("version=1.0", "'1.0' does not fit. Semantic version of the release. For example: 1.0.0"),
        ("version='1.0'", "'1.0' does not fit. Semantic version of the release. For example: 1.0.0"),
        ("name=../up", "name: '../up' does not fit"),
        ("conditioning.method=cutmixx", "did you mean cutmix?"),
        (
            "source.kind=digit",
            "source.kind: must be one of digits, folder, listing, flowers102, coco, voc, hub; "
            "is 'digit' (did you mean digits?)",
        ),
        ("source.halve={part: test}", "source.halve.part: must be one of training, validation; is 'test'"),
        ("source.halve={prt: 1}", "source.halve.prt: unknown key (did you mean part?)"),
        ("source.exclude=x", "source.exclude: must be a list, is 'x'"),
        ("source.classes=[]", "source.classes: is empty: leave it out, or name a class"),
        ("source.classes={1: x}", "line 1: a key must be plain text; put it in quotes"),
        ("source.subset=[]", "source.subset: must be a list of class names or numbers, at least one"),
        ("source.long_tail={}", "source.long_tail.imbalance_factor: is missing: Images of the first class"),
        ("source.prat=test", "source.prat: unknown key (did you mean part?)"),
        ("source.groups.many=3", "source.groups.many: unknown key (did you mean many_above?)"),
        ("conditioning.dropout=1.1", "conditioning.dropout: must be at most 1, is 1.1"),
        (
            "conditioning={dropout: 1, rescale: true}",
            "rescale: divides by 1 - dropout, and dropout is 1; set rescale: false, or a lower dropout",
        ),
        ("conditioning.dropout=.nan", "conditioning.dropout: must be a finite number, is nan"),
        ("sampler.guidance_scale=.inf", "sampler.guidance_scale: must be a finite number"),
        ("conditioning.alpha=1e-3", "is '1e-3': YAML reads this as text; write 0.001"),
        ("seed=-1", "seed: must be at least 0, is -1"),
        ("prompt='a {nam}'", "prompt: only {name} and {caption} are filled in"),
        ("output.quality=90", "output: png is lossless and has no quality"),
        ("arithmetic.compile=block", "arithmetic.compile: must be true, false or blocks, is 'block'"),
        ("sampler.batch_size=many", "sampler.batch_size: must be a whole number or auto, is 'many'"),
        ("sampler.batch_size=0", "sampler.batch_size: must be at least 1, is 0"),
        ("sampler.batch_size=2000", "sampler.batch_size: must be at most 1024, is 2000"),
        ("sampler.batch_size=1.5", "sampler.batch_size: must be a whole number, is 1.5"),
        (
            "arithmetic.attention=cudn",
            "arithmetic.attention: must be one of sdpa, flash, cudnn, efficient, math; is 'cudn' "
            "(did you mean cudnn?)",
        ),
        ("sampler=3", "sampler: must be a section with keys of its own, is 3"),
        ("hub.repo_id=noslash", "hub.repo_id: 'noslash' does not fit"),
        ("released=tomorrow", "released: must be a day: year-month-day, as in 2026-12-01"),
        ("released=2026-02-30", "released: must be a day: year-month-day, as in 2026-12-01"),
        ("released=2026", "released: must be a day: year-month-day, as in 2026-12-01"),
        ("released='2026-12-01 10:00:00'", "released: must be a day: year-month-day, as in 2026-12-01"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_field(write: Any, change: str, told: str) -> None:
    message = refused(write(MINIMAL), change)
    assert told in message
    assert message.startswith(f"--set {change}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is not a recipe"),
        ("just words", "is not a recipe"),
        ("- a\n- b", "is not a recipe"),
        ("name: [1, 2", "line 1: is not plain YAML"),
        ("name: a\n\tversion: b", "line 2: is not plain YAML"),
        ("name: !!python/object/apply:os.system ['true']", "line 1: is not plain YAML: could not determine"),
        ("name: !shell ls", "recipes are plain data, remove the tag"),
        ("name: a\nname: b", "line 2: name: is given twice"),
        ("name: &x a\nsummary: *x", "anchors and aliases are not used"),
        ("1: a", "line 1: a key must be plain text"),
        ("<<: {name: a}", "line 1: a key must be plain text"),
        ("name: a\x00b", "is not plain YAML"),
        ("version: 1.0", "version: must be text (in quotes), is 1.0: write it in quotes, as in '1.0.0'"),
        ("name: mine", "source: is missing: The real images."),
        ("summary: 2024-13-45", "is not plain YAML: month must be in 1..12"),
        ("seed: 0x_", "is not plain YAML"),
        ("seed: " + "9" * 5000, "is not plain YAML"),
        ("name: " + "[" * 3000, "is not plain YAML"),
    ],
)
def test_a_file_that_is_no_recipe(write: Any, text: str, told: str) -> None:
    path = write(text)
    message = refused(path)
    assert told in message
    assert str(path) in message


def test_what_is_missing_from_a_file_has_no_line(write: Any) -> None:
    """Not that of the first key, which a header of comments moves down."""
    path = write("# a header\n# of two lines\n" + MINIMAL.replace("target_per_class: 100\n", ""))
    assert refused(path).startswith(f"{path}: target_per_class: is missing")


def test_other_files(write: Any, tmp_path: Path) -> None:
    write(MINIMAL, "digits.yaml")
    assert f"there is no such recipe (did you mean {tmp_path}/digits.yaml?)" in refused(
        tmp_path / "digit.yaml"
    )
    assert "is a folder, not a recipe" in refused(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in refused(tmp_path / "binary.yaml")


def test_extends_states_only_differences(write: Any, tmp_path: Path) -> None:
    write(MINIMAL + "conditioning: {method: mixup, alpha: 0.5}\n", "base.yaml")
    recipe = load(write("extends: base.yaml\nname: child\nconditioning: {method: cutmix}\n"))
    assert (recipe.name, recipe.target_per_class) == ("child", 100)
    assert (recipe.conditioning.method, recipe.conditioning.alpha) == ("cutmix", 0.5)


def test_another_kind_of_source_replaces_the_whole_section(write: Any) -> None:
    write(MINIMAL.replace("kind: digits", "kind: digits\n  max_per_class: 9"), "base.yaml")
    recipe = load(write("extends: base.yaml\nsource: {kind: folder, root: images}\n"))
    assert recipe.source.kind == "folder"


def test_errors_of_an_extended_file_name_that_file(write: Any, tmp_path: Path) -> None:
    write(MINIMAL + "sampler: {stepz: 3}\n", "base.yaml")
    child = write("extends: base.yaml\nname: child\n")
    assert refused(child) == f"{tmp_path}/base.yaml: line 7: sampler.stepz: unknown key (did you mean steps?)"


def test_extends_in_a_circle_or_to_nowhere(write: Any, tmp_path: Path) -> None:
    write("extends: b.yaml\n", "a.yaml")
    assert "extends itself" in refused(write("extends: a.yaml\n", "b.yaml"))
    assert f"line 1: extends: there is no file {tmp_path}/gone.yaml" in refused(write("extends: gone.yaml\n"))
    assert "must be the path of another recipe" in refused(write("extends: 3\n"))


def test_a_malformed_override(write: Any) -> None:
    path = write(MINIMAL)
    assert "write it as section.field=value" in refused(path, "sampler.steps")
    assert "seed is not a section" in refused(write(MINIMAL + "seed: 3\n"), "seed.x=1")
    assert "the value is not plain YAML" in refused(path, "seed=[")
    assert "the value is not plain YAML: could not determine" in refused(
        path, "seed=!!python/name:os.system x"
    )
    assert "the value is not plain YAML: month must be in 1..12" in refused(path, "seed=2024-13-45")
    assert "the value is not plain YAML" in refused(path, "seed=" + "[" * 3000)
    assert "extends cannot be set; write it in the file" in refused(path, "extends=other.yaml")


def test_text_needs_no_quotes_on_the_command_line(write: Any) -> None:
    path = write(MINIMAL)
    for text in ("3137", "true", "2024-13-45", "a: b", "[x"):
        assert load(path, [f"summary={text}"]).summary == text
    assert load(path, ["summary='quoted'"]).summary == "quoted"
    assert load(path, ["hub.repo_id=null"]).hub.repo_id is None


def test_overrides_can_name_another_kind_of_source_in_any_order(write: Any) -> None:
    path = write(MINIMAL.replace("kind: digits", "kind: digits\n  part: test"))
    for overrides in (["source.kind=folder", "source.root=x"], ["source.root=x", "source.kind=folder"]):
        assert load(path, overrides).source.model_dump()["root"] == "x"


def test_odd_sources(write: Any) -> None:
    odd = write(MINIMAL.replace("  kind: digits", "  kind: folder\n  folder: x"), "odd.yaml")
    assert "source.folder: unknown key" in refused(odd)
    assert "source.root: is missing" in refused(odd)
    write(MINIMAL.replace("source:\n  kind: digits", "source: digits"), "base.yaml")
    child = write("extends: base.yaml\nsource: {kind: digits}\n")
    assert load(child).source.kind == "digits"


def test_text_of_a_source_needs_no_quotes(write: Any) -> None:
    for root in ("2012", "a: b", "no"):
        recipe = load(write(MINIMAL), ["source.kind=folder", f"source.root={root}"])
        assert recipe.source.places() == {"root": root}


def test_a_kind_elsewhere_clears_nothing(write: Any) -> None:
    recipe = load(
        write(MINIMAL), ["source.classes={three: drei}", "source.classes.kind=art", "source.classes.two=zwei"]
    )
    assert recipe.source.classes == {"three": "drei", "kind": "art", "two": "zwei"}


def test_a_day_needs_no_quotes(write: Any) -> None:
    for day in ("2026-12-01", "'2026-12-01'"):
        assert load(write(MINIMAL), [f"released={day}"]).released == "2026-12-01"
    assert load(write(MINIMAL)).released is None


@pytest.mark.parametrize(
    ("id", "repository"),
    [("ylecun/mnist", "ylecun/mnist"), ("./mnist", None), ("data/mnist/part", None), ("mnist", None)],
)
def test_a_source_knows_its_data_set_on_the_hub(write: Any, id: str, repository: str | None) -> None:
    recipe = load(write(MINIMAL), ["source.kind=hub", f"source.id={id}"])
    assert recipe.source.repository == repository


def test_the_batch_size_may_be_left_to_be_measured(write: Any) -> None:
    recipe = load(write(MINIMAL), ["sampler.batch_size=auto"])
    assert recipe.sampler.batch_size == AUTO
    assert recipe.model_dump(mode="json")["sampler"]["batch_size"] == "auto"
    sampler = recipe.sampler.model_copy(update={"batch_size": 8})
    assert recipe.model_copy(update={"sampler": sampler}).portable()["sampler"]["batch_size"] == 8


def test_the_schema_file_beside_the_recipes_is_the_schema() -> None:
    stored = json.loads((ROOT / "recipes" / "recipe.schema.json").read_text())
    assert stored == json_schema()
    assert all(field.get("description") for field in stored["properties"].values() if "$ref" not in field)


def test_every_field_of_every_section_is_described() -> None:
    for name, section in json_schema()["$defs"].items():
        for key, field in section["properties"].items():
            assert field.get("description"), f"{name}.{key}"


def test_a_published_recipe_holds_no_path_of_this_machine(write: Any) -> None:
    recipe = load(
        write(MINIMAL), ["source.kind=folder", "source.root=/data/secret/flowers", "model.id=/models/sd21"]
    )
    data = recipe.portable()
    assert data["source"]["root"] == "flowers"
    assert data["model"]["id"] == "sd21"
    assert portable_path("../x/y") == "y"
    assert portable_path("images/train") == "images/train"
    assert portable_path("~/pics") == "pics"


@pytest.mark.parametrize("after", ["\n", "\r", "\x00", "\x1b", "\x85", "\u0663"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "mine"),
        ("version", "1.0.0"),
        ("license", "cc-by-4.0"),
        ("model.revision", "abc"),
        ("hub.repo_id", "me/mine"),
    ],
)
def test_what_has_a_form_ends_where_it_ends(field: str, value: str, after: str) -> None:
    """No line feed, control character or digit of another script is part of a name or a version."""
    data: dict[str, Any] = yaml.safe_load(MINIMAL)
    *section, last = field.split(".")
    node = data.setdefault(section[0], {}) if section else data
    node[last] = value
    Recipe.model_validate(data)
    node[last] = value + after
    with pytest.raises(ValueError, match="String should match pattern"):
        Recipe.model_validate(data)


@pytest.mark.parametrize("after", ["\n", "\r", "\x00", "\x1b", "\x85"])
def test_so_do_the_names_and_hashes_of_a_manifest(after: str) -> None:
    manifest = json.loads((ROOT / "tests/data/release-format-1/manifest.json").read_text())
    for place in ("name", "version"):
        with pytest.raises(ValueError, match="String should match pattern"):
            Manifest.model_validate({**manifest, place: manifest[place] + after})
    for place in ("path", "sha256"):
        file = {**manifest["files"][0], place: manifest["files"][0][place] + after}
        with pytest.raises(ValueError, match=r"should match pattern|is not a path inside"):
            Manifest.model_validate({**manifest, "files": [file]})
