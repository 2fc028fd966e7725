"""`synthkit init`: a recipe from the template, with flags or by asking, or a copy of one that ships."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from rich.console import Console

from synthkit.recipe.catalogue import as_table, describe_all
from synthkit.recipe.json_schema import json_schema
from synthkit.recipe.load import load
from synthkit.recipe.shipped import find, names, template
from synthkit.version import __version__
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.paths import ROOT

TEMPLATE = template()
SCHEMA = "recipe.schema.json"


def comments(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


def test_the_template_is_copied_with_its_comments(cli: Cli) -> None:
    result = cli("init", "my-flowers", "--set", "source.root=data/flowers", "--set", "target_per_class=300")
    assert result.exit_code == 0, result.output
    assert "my-flowers.yaml: written. Next:\n  synthkit doctor my-flowers.yaml\n" in result.output
    text = (cli.folder / "my-flowers.yaml").read_text()
    wanted = (
        TEMPLATE.read_text().replace("my-release", "my-flowers").replace("data/my-images", "data/flowers")
    )
    assert text == wanted.replace("target_per_class: 200", "target_per_class: 300")
    recipe = load(cli.folder / "my-flowers.yaml")
    assert (recipe.name, recipe.target_per_class) == ("my-flowers", 300)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("coco", ["source.root=/data/coco", "source.shots=4"]),
        ("listing", ["source.list=a.txt", "source.root=b", "source.names=imagenet"]),
        ("hub", ["source.id=me/birds", "source.image=photo", "source.groups.few_below=5"]),
        ("digits", []),
    ],
)
def test_another_kind_of_source(cli: Cli, kind: str, values: list[str]) -> None:
    flags = [word for value in values for word in ("--set", value)]
    result = cli("init", "mine", "--kind", kind, *flags)
    assert result.exit_code == 0, result.output
    text = (cli.folder / "mine.yaml").read_text()
    assert comments(text) == comments(TEMPLATE.read_text().replace("my-release", "mine"))
    assert "\n\n# {name} is the class name" in text
    recipe = load(cli.folder / "mine.yaml")
    assert recipe.source.kind == kind
    if kind == "hub":
        assert recipe.source.groups.few_below == 5


def test_digits_can_be_built_at_once(cli: Cli) -> None:
    written = cli("init", "mine", "--kind", "digits")
    assert written.exit_code == 0, written.output
    assert written.output.endswith("\n  synthkit build mine.yaml\n")
    recipe, shown = load(cli.folder / "mine.yaml"), load(find("digits_lt_ecd"))
    for section in ("prompt", "target_per_class", "model", "output", "conditioning", "license"):
        assert getattr(recipe, section) == getattr(shown, section)
    assert (recipe.sampler, recipe.source.groups) == (shown.sampler, shown.source.groups)
    built = cli("build", "mine.yaml", "--limit", "1", "--set", "sampler.batch_size=1")
    assert built.exit_code == 0, built.output


def test_an_answer_counts_more_than_what_fits_digits(cli: Cli) -> None:
    cli("init", "mine", "--kind", "digits", "--set", "sampler.steps=9", "--set", "output.size=64")
    recipe = load(cli.folder / "mine.yaml")
    assert (recipe.sampler.steps, recipe.output.size, recipe.sampler.batch_size) == (9, 64, 32)


def test_the_built_in_model_gets_arithmetic_that_runs_anywhere(cli: Cli) -> None:
    root = miniatures.caltech101(cli.folder / "caltech", per_class=3)
    values = [
        "model.id=builtin:tiny-unclip-digits",
        f"source.root={root}",
        "target_per_class=4",
        "sampler.steps=1",
    ]
    cli("init", "mine", *[word for value in values for word in ("--set", value)])
    assert cli("doctor", "mine.yaml").exit_code == 0
    built = cli("build", "mine.yaml")
    assert built.exit_code == 0, built.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("Bad Name",), "name: 'Bad Name' does not fit"),
        (("mine", "--set", "source.rot=x"), "source.rot: unknown key (did you mean root?)"),
        (("mine", "--set", "target_per_class=0"), "target_per_class: must be at least 1, is 0"),
        (("mine", "--kind", "coco"), "source.root: is missing: The folder that holds train2017/"),
        (("mine", "--kind", "coco", "--set", "source.kind=voc"), "give one of them"),
        (("mine", "--kind", "voc2012"), "source.kind: must be one of digits, folder, "),
        (("mine", "--from", "digits_lt_edc"), "synthkit (did you mean digits_lt_ecd?); `synthkit recipes`"),
        (("mine", "--from", "template"), "--from template: no recipe of this name"),
        (("mine", "--from", "../recipes/voc"), "--from ../recipes/voc: no recipe of this name"),
        (("mine", "--from", "voc", "--kind", "voc"), "--kind voc and --from voc: give one of them"),
        (("mine", "--from", "voc", "--set", "source.rot=x"), "source.rot: unknown key (did you mean root?)"),
    ],
)
def test_nothing_is_written_for_a_wrong_answer(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    result = cli("init", *arguments)
    assert result.exit_code == 1
    assert told in result.output
    assert len(result.output.splitlines()) == 1
    assert list(cli.folder.iterdir()) == []


def test_the_other_way_to_count(cli: Cli) -> None:
    assert cli("init", "mine", "--set", "synthetic_per_class=16").exit_code == 0
    recipe = load(cli.folder / "mine.yaml")
    assert (recipe.synthetic_per_class, recipe.target_per_class) == (16, None)
    wanted = TEMPLATE.read_text().replace("my-release", "mine")
    text = wanted.replace("target_per_class: 200", "synthetic_per_class: 16")
    assert (cli.folder / "mine.yaml").read_text() == text


def test_answers_are_taken_as_they_are(cli: Cli) -> None:
    cli("init", "mine", "--set", "source.root=/data/my-release/images")
    assert load(cli.folder / "mine.yaml").source.places() == {"root": "/data/my-release/images"}


def test_a_recipe_that_is_there_stays(cli: Cli) -> None:
    (cli.folder / "mine.yaml").write_text("precious")
    for more in ((), ("--from", "voc")):
        result = cli("init", "mine", *more)
        assert result.exit_code == 1
        assert "mine.yaml: is there already; choose another name, or remove it" in result.output
        assert (cli.folder / "mine.yaml").read_text() == "precious"
    assert [path.name for path in cli.folder.iterdir()] == ["mine.yaml"]


# Copies of recipes that ship


# The other digits differ in their method alone.
ALIKE = [name for name in names() if name.startswith("digits_lt_") and "ecd" not in name][1:]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in ALIKE else []) for name in names()]
)
def test_a_copy_stands_alone_and_keeps_its_comments(cli: Cli, name: str) -> None:
    written = cli("init", "my-copy", "--from", name)
    assert written.exit_code == 0, written.output
    text, original = (cli.folder / "my-copy.yaml").read_text(), find(name).read_text()
    assert load(cli.folder / "my-copy.yaml") == load(find(name)).model_copy(update={"name": "my-copy"})
    assert "extends:" not in text
    assert ".yaml" not in text.replace("my-copy.yaml", "")
    assert f"# Copy of   {name}, a recipe of synthkit {__version__}\n" in text
    assert "\n\n\n" not in text
    told = [line.replace(f"recipes/{name}.yaml", "my-copy.yaml") for line in comments(original)]
    told = [line.replace(f"releases/{load(find(name)).name}", "releases/my-copy") for line in told]
    assert [line for line in comments(text) if line in told] == told
    assert not re.search("[^\n]\n(source|conditioning|model|output):", re.sub("(?m)^ *#.*\n", "", text))


def test_a_copy_takes_what_it_extends_by_section(cli: Cli) -> None:
    cli("init", "mine", "--from", "imagenet_lt_90")
    text = (cli.folder / "mine.yaml").read_text()
    assert "  # As large as the GPU's memory allows, before the first build" in text
    assert "\n    # medium\n    - stingray\n" in text
    assert "  steps: 30\n  guidance_scale: 10.0\n" in text
    cli("init", "other", "--from", "coco")
    assert "  kind: coco\n  root: data/coco\n" in (cli.folder / "other.yaml").read_text()
    assert "BACKGROUND" not in (cli.folder / "other.yaml").read_text()


def test_a_copy_with_answers(cli: Cli) -> None:
    answers = (
        *("source.root=/data/a: b", "source.classes.BACKGROUND_Google=null", "source.groups.few_below=3"),
        *("source.halve.seed=4", "output.quality=80", "filters.blank.min_deviation=8.0", "hub.repo_id=me/x"),
    )
    flags = [word for answer in answers for word in ("--set", answer)]
    written = cli("init", "mine", "--from", "caltech101", *flags)
    assert written.exit_code == 0, written.output
    text = (cli.folder / "mine.yaml").read_text()
    assert load(cli.folder / "mine.yaml") == load(find("caltech101"), ["name=mine", *answers])
    assert comments(find("caltech101").read_text())[-2:] == comments(text)[-2:]
    changed = load(find("voc"), ["name=b", "source.kind=folder", "source.root=x"])
    cli("init", "b", "--from", "voc", "--set", "source.kind=folder", "--set", "source.root=x")
    assert load(cli.folder / "b.yaml") == changed


# The schema that the first line names


@pytest.mark.parametrize("more", [(), ("--kind", "digits"), ("--from", "coco")])
def test_the_schema_lies_where_the_first_line_says(cli: Cli, more: tuple[str, ...]) -> None:
    cli("init", "mine", *more)
    first, *_ = (cli.folder / "mine.yaml").read_text().splitlines()
    named = cli.folder / first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads(named.read_text())
    assert schema == json_schema()
    assert named.read_text() == cli("schema").output
    checker = jsonschema.Draft202012Validator(schema)
    data = yaml.safe_load((cli.folder / "mine.yaml").read_text())
    assert list(checker.iter_errors(data)) == []
    assert list(checker.iter_errors({**data, "promt": "a"})) != []


def test_an_older_schema_is_renewed_and_another_file_stays(cli: Cli) -> None:
    place = cli.folder / SCHEMA
    place.write_text(json.dumps({"title": "synthkit recipe", "properties": {}}))
    cli("init", "one")
    assert json.loads(place.read_text()) == json_schema()
    for other in ('{"title": "pasta"}', "[]", "precious"):
        place.write_text(other)
        told = cli("init", f"two{len(other)}").output
        assert place.read_text() == other
        assert "recipe.schema.json: holds something else and is kept" in told
        assert "$schema" not in (cli.folder / f"two{len(other)}.yaml").read_text()


# What there is to copy


def test_recipes_lists_what_there_is_and_what_each_needs(cli: Cli) -> None:
    text = cli("recipes").output
    assert "synthkit init digits-demo --from digits_lt_ecd" in text
    assert [line.split()[0] for line in text.splitlines()[:4:3]] == ["digits_few_shot", "digits_lt_ecd"]
    listed = json.loads(cli("recipes", "--json").output)
    assert sorted(item["recipe"] for item in listed) == names()
    assert "template" not in names()
    for item in listed:
        assert f"\n{item['recipe']} " in f"\n{text}"
        assert item["needs"].split(",")[0] in text
    (voc,) = (item for item in listed if item["recipe"] == "voc")
    assert voc == {
        "recipe": "voc",
        "summary": load(find("voc")).summary,
        "method": "embed-cutmix-dropout",
        "gates": False,
        "guidance_scale": 10.0,
        "levels": 0,
        "feedback": None,
        "makes": "320 images (512x512 JPEG) of 20 classes",
        "takes": "about 3 GPU-minutes at 2.27 images/s (measured on an H200); about 0.04 GB",
        "needs": "VOCdevkit/VOC2012: JPEGImages, SegmentationClass, SegmentationObject, ImageSets",
        "available_from": "VOCtrainval_11-May-2012.tar: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "model": "radames/stable-diffusion-2-1-unclip-img2img",
        "extends": "caltech101",
    }


def test_the_list_tells_levels_and_feedback() -> None:
    told = {item.recipe: item.in_short for item in describe_all()}
    assert told["digits_lt_discl"].endswith("; real-guidance, guidance 2, 4 levels")
    assert told["digits_lt_feedback"].endswith("; random-image, guidance 2, feedback by entropy")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_is_readable_at_any_width(width: int) -> None:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(as_table(describe_all()))
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    for name in names():
        assert sum(line.split(" ")[0] == name for line in lines) == 1
    assert "…" not in stream.getvalue()


def test_a_recipe_that_ships_is_not_taken_for_a_file(cli: Cli) -> None:
    for path in ("digits_lt_ecd", "recipes/digits_lt_ecd.yaml"):
        assert cli("build", path).output == (
            f"error: {path}: there is no such recipe; digits_lt_ecd comes with synthkit: "
            "`synthkit init digits-lt-ecd --from digits_lt_ecd` writes digits-lt-ecd.yaml\n"
        )
    (cli.folder / "mine.yaml").write_text("extends: digits_lt_ecd.yaml\nname: mine\n")
    assert "writes digits-lt-ecd.yaml" in cli("plan", "mine.yaml").output


def test_on_a_terminal_it_asks_for_what_no_flag_gives(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "synthkit", "init", "mine", "--set", "prompt=a drawing of a {name}"],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    for answer in ("hub", "me/birds", "500", ""):
        os.write(master, f"{answer}\n".encode())
    assert asking.wait(60) == 0
    os.close(terminal)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "Where are the real images?" in shown
    recipe = load(tmp_path / "mine.yaml")
    assert recipe.source.model_dump()["id"] == "me/birds"
    assert (recipe.target_per_class, recipe.prompt) == (500, "a drawing of a {name}")
    assert recipe.model.id == "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_the_templates_adapter_goes_with_its_model(cli: Cli) -> None:
    """Another model has its own pieces, or none."""
    for model, adapter in (
        ("kandinsky-community/kandinsky-2-2-decoder", None),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "h94/IP-Adapter"),
    ):
        (cli.folder / "mine.yaml").unlink(missing_ok=True)
        assert cli("init", "mine", "--set", f"model.id={model}").exit_code == 0
        found = load(cli.folder / "mine.yaml").model
        assert (found.id, found.adapter and found.adapter.id) == (model, adapter)
        assert "IP-Adapter" in (cli.folder / "mine.yaml").read_text() or adapter is None


@pytest.mark.parametrize("name", ["voc_sd15", "imagenet_lt_ecd_sdxl_lightning"])
def test_a_copy_says_nothing_of_the_model_of_what_it_extends(cli: Cli, name: str) -> None:
    assert cli("init", "mine", "--from", name).exit_code == 0
    assert "unclip" not in (cli.folder / "mine.yaml").read_text().lower()
