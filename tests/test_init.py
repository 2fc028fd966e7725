"""`synthkit init`: a recipe from the template, with flags or by asking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthkit.init import TEMPLATE
from synthkit.recipe_file import load
from tests import miniatures
from tests.conftest import Cli

ROOT = Path(__file__).parents[1]


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


def test_answers_are_taken_as_they_are(cli: Cli) -> None:
    cli("init", "mine", "--set", "source.root=/data/my-release/images")
    assert load(cli.folder / "mine.yaml").source.places() == {"root": "/data/my-release/images"}


def test_a_recipe_that_is_there_stays(cli: Cli) -> None:
    (cli.folder / "mine.yaml").write_text("precious")
    result = cli("init", "mine")
    assert result.exit_code == 1
    assert "mine.yaml: is there already; choose another name, or remove it" in result.output
    assert (cli.folder / "mine.yaml").read_text() == "precious"


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
    assert recipe.model.id == "radames/stable-diffusion-2-1-unclip-img2img"
