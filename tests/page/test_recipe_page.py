"""`synthkit page RECIPE`: what the page of a recipe says and shows before a build."""

from __future__ import annotations

import base64
import io
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.page.choice import MOST_BYTES
from tests.conftest import FLAT, Cli
from tests.helpers.commands import error_of, output_of, run_build
from tests.helpers.pages import HOSTILE, MARKUP, Element, data_of, parse, words

_LOOKED = "looked.html"


def page_of(cli: Cli, recipe: Path, *options: str) -> Element:
    told = output_of(cli, "page", recipe, "--out", _LOOKED, *FLAT, *options)
    assert told.startswith(f"{_LOOKED}: ")
    assert (cli.folder / _LOOKED).stat().st_size <= MOST_BYTES
    return parse(cli.folder / _LOOKED)


def source(*fields: str) -> list[str]:
    """Another source, by its fields."""
    return [word for field in fields for word in ("--set", f"source.{field}")]


def figures(item: Element) -> dict[str, Element]:
    """The pictures of a planned image by their titles."""
    return {figure.one("b").text: figure for figure in item.all("figure")}


def pixels(uri: str) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/webp;base64,"))))
    return np.asarray(image.convert("RGB"))


def planned(page: Element) -> dict[str, Element]:
    """The planned images by their keys."""
    items = page.one("ul", kind="plans").all("li")
    return {words(item.one("h3").one("span")).removeprefix("image "): item for item in items}


def test_counts_are_those_of_plan(cli: Cli) -> None:
    recipe = cli.recipe()
    page, plan = page_of(cli, recipe), json.loads(output_of(cli, "plan", recipe, *FLAT, "--json"))
    rows = page.one("table", kind="planned").one("tbody").all("tr")
    cells = [[words(cell) for cell in row.children if isinstance(cell, Element)] for row in rows]
    assert cells == [
        [str(item["label"]), item["name"], item["group"], str(item["real"]), str(item["synthetic"]), "12", ""]
        for item in plan["classes"]
    ]
    groups = page.one("section", id="classes").all("table")[0].one("tbody").all("tr")
    told = {words(row.one("th")): [int(cell.text) for cell in row.all("td")] for row in groups}
    totals = plan["totals"]
    assert told.pop("all") == [10, totals["real"], totals["synthetic"], 120]
    assert {name: row[:3] for name, row in told.items()} == {
        name: list(group.values()) for name, group in plan["groups"].items()
    }
    # What plan prints below its tables, in its words.
    printed = " ".join(output_of(cli, "plan", recipe, *FLAT).split())
    costs = [words(line).removesuffix(".") for line in page.one("section", id="cost").all("p")]
    assert costs
    assert all(line in printed for line in costs)


@pytest.mark.parametrize("method", ["cutmix", "embed-cutmix-dropout", "real-guidance, strength: 0.5"])
def test_a_planned_image_is_drawn_as_the_page_of_the_release_draws_it(cli: Cli, method: str) -> None:
    recipe = cli.recipe(f"conditioning: {{method: {method}}}", "target_per_class: 9")
    before = planned(page_of(cli, recipe))
    assert not (cli.folder / ".synthkit").exists()
    run_build(cli, recipe, *FLAT)
    output_of(cli, "page", "releases/small", "--out", "release.html")
    data = data_of(parse(cli.folder / "release.html"))
    lines = data["lines"]
    after = {image["key"]: image for image in data["images"]}
    assert before
    assert before.keys() <= after.keys()
    for key, item in before.items():
        image, drawn = after[key], figures(item)
        history = dict(lines[place] for place in image["history"])
        assert f"seed {history['seed'].split()[0].rstrip(',')}" in words(item)
        title, note, uri, cells = image["mixed"]
        mixed = drawn.pop(title)
        assert words(mixed.one("figcaption")) == f"{title}{note}"
        assert (mixed.one("img").attributes.get("class") == "cells") == cells
        # The pages may make a picture smaller by different amounts; what it is of is one.
        ours, theirs = pixels(mixed.one("img").attributes["src"]), pixels(uri)
        assert ours.shape == theirs.shape
        assert np.abs(ours.astype(int) - theirs).mean() < (1 if cells else 4)
        assert {what: words(figure.one("bdi")) for what, figure in drawn.items()} == {
            what: name for what, name, *_ in image["sources"]
        }
        for (*_, crop), figure in zip(image["sources"], drawn.values(), strict=True):
            boxes = [
                [box.attributes[side] for side in ("x", "y", "width", "height")] for box in figure.all("rect")
            ]
            assert boxes == ([[str(side) for side in crop]] if crop else [])


def test_of_a_prompt_alone_the_prompts_are_shown(cli: Cli) -> None:
    recipe = cli.recipe("conditioning: {method: text-only}", 'prompt: "a photo of {name}"')
    page = page_of(cli, recipe)
    assert not page.all("ul", kind="plans")
    rows = page.one("section", id="conditionings").one("tbody").all("tr")
    told = [[words(cell) for cell in row.all("td")] for row in rows]
    assert told
    assert all(prompt == f"a photo of {name}" for name, prompt, _ in told)
    assert "a photo of {name}" in words(page.one("section", id="prompts"))


def test_of_retrieval_a_sentence_is_told(cli: Cli) -> None:
    recipe = cli.recipe(
        "conditioning: {method: retrieval}", "retrieval: {source: {kind: digits, part: pretrain}}"
    )
    output_of(cli, "page", recipe)
    # Its name does not take the place of the release's page.
    page = parse(cli.folder / "small-recipe.html")
    told = words(page.one("section", id="conditionings"))
    assert "Nothing is generated" in told
    assert not page.one("section", id="conditionings").all("img")
    assert "Retrieved from 897 real images of another source" in words(page.one("section", id="cost"))
    assert not page.all("section", id="prompts")


def test_the_recipe_and_the_commands_stand_there_to_be_copied(cli: Cli) -> None:
    recipe = cli.recipe()
    page = page_of(cli, recipe, "--set", "seed=8")
    assert page.one("code", id="recipe-text").text == recipe.read_text()
    assert "seed: 8\n" in page.one("code", id="recipe-complete").text
    commands = page.one("code", id="build-commands").text.splitlines()
    assert [shlex.split(line) for line in commands][-1] == [
        *("synthkit", "build", "recipe.yaml", *FLAT, "--set", "seed=8")
    ]
    assert len(page.all("button", kind="copy")) == 3
    # No folder of this machine is in it.
    assert str(cli.folder) not in (cli.folder / _LOOKED).read_text()


def test_real_images_that_are_not_here_are_told_in_a_line(cli: Cli) -> None:
    page = page_of(cli, cli.recipe(), *source("kind=folder", "root=nowhere"))
    assert "there is no folder nowhere" in words(page.all("p", kind="note")[0])
    assert not page.all("section", id="classes")
    assert page.one("code", id="recipe-text").text.startswith("name: small")
    page = page_of(cli, cli.recipe(), *source("kind=hub", "id=my-lab/cats"))
    assert "the data set my-lab/cats of the Hub, which a page does not ask" in words(page)


def test_a_real_image_that_cannot_be_read_leaves_the_rest(cli: Cli) -> None:
    for name in ("a", "b"):
        (cli.folder / "real" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), "red").save(cli.folder / "real" / name / "1.png")
    (cli.folder / "real/b/1.png").write_bytes(b"nothing")
    recipe = cli.recipe("conditioning: {method: mixup}")
    page = page_of(cli, recipe, *source("kind=folder", "root=real"))
    (note,) = [words(one) for one in page.all("p", kind="note") if "cannot be shown" in words(one)]
    assert note.startswith("1 real image cannot be shown: ")
    items = planned(page).values()
    drawn = {words(item.one("h3").one("bdi")): len(item.all("img")) for item in items}
    assert drawn == {"a": 1, "b": 0}


def test_hostile_names_are_shown_and_inert(cli: Cli) -> None:
    # A source refuses names with control characters.
    names = [name.replace("\u0007", "") for name in HOSTILE if "\n" not in name]
    for number in range(len(names)):
        Image.new("RGB", (8, 8)).save(cli.folder / f"{number}.png")
    (cli.folder / "names.txt").write_text("\n".join(names) + "\n")
    lines = "".join(f"{number}.png {number}\n" for number in range(len(names)))
    (cli.folder / "list.txt").write_text(lines)
    recipe = cli.recipe(f"summary: {json.dumps(MARKUP)}")
    page = page_of(cli, recipe, *source("kind=listing", "root=.", "list=list.txt", "names=names.txt"))
    assert len(page.all("script")) == 1
    assert not [image for image in page.all("img") if image.attributes["src"] == "x"]
    assert MARKUP in words(page.one("section", id="conditionings"))
    assert "long… (10,000 letters)" in words(page.one("table", kind="planned"))
    policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")


def test_the_choice_is_a_rule_and_a_seed_and_the_page_the_same_each_time(cli: Cli) -> None:
    recipe = cli.recipe()
    first = page_of(cli, recipe)
    content = (cli.folder / _LOOKED).read_bytes()
    page_of(cli, recipe)
    assert (cli.folder / _LOOKED).read_bytes() == content
    other = page_of(cli, recipe, "--seed", "1")
    assert "a number drawn from the seed 1 picks one of each" in words(other)
    assert planned(first).keys() != planned(other).keys()
    assert len(planned(first)) == len(planned(other)) <= 24


def test_bad_input_is_one_line(cli: Cli) -> None:
    recipe = cli.recipe()
    assert "missing.yaml: there is no such recipe or study file" in error_of(cli, "page", "missing.yaml")
    assert "--score and --contrasts: are for" in error_of(cli, "page", recipe, "--contrasts", recipe)
    assert "unknown key" in error_of(cli, "page", cli.recipe("nonsense: 1", name="bad.yaml"))
    done = cli.recipe("target_per_class: 1", name="done.yaml")
    assert "nothing to make" in error_of(cli, "page", done, *FLAT)
