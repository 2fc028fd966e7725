"""`synthkit page RELEASE`: what the page of a release says and shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.page.choice import PLANS, pick, plans_that_fit, shown_labels
from synthkit.release.manifest import read_manifest
from synthkit.release.record_table import RecordTables
from synthkit.system.files import sha256_of
from tests.conftest import FLAT, Cli
from tests.helpers.commands import output_of, run_build
from tests.helpers.forging import image_files, reseal
from tests.helpers.pages import (
    ARABIC,
    HOSTILE,
    LONG,
    MARKUP,
    Element,
    data_of,
    page_of,
    parse,
    rename_classes,
    words,
)
from tests.helpers.paths import DATA

FORMATS = sorted(path.name for path in DATA.glob("release-format-*"))


@pytest.fixture(scope="module")
def audited(flat_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that was audited, of which 24 images a class do not exist. Read it, do not change it."""
    cli = Cli(tmp_path_factory.mktemp("audited"))
    release = Path(shutil.copytree(flat_release, cli.folder / "small"))
    output_of(cli, "audit", release)
    return release


@pytest.fixture(scope="module")
def page(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Element:
    """The page of it."""
    return page_of(Cli(tmp_path_factory.mktemp("page")), audited)


@pytest.fixture
def copy(flat_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(flat_release, tmp_path / "copies" / "small"))


def pixels(uri: str) -> Any:
    kind, content = uri.split(",", 1)
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def rows_of(release: Path) -> dict[str, dict[str, Any]]:
    parts = RecordTables(release, read_manifest(release)).parts()
    return {row["key"]: row for part in parts for row in part.to_pylist()}


# --- images ---


def test_every_image_stands_with_its_class_and_its_pixels_are_those_of_the_release(
    page: Element, audited: Path
) -> None:
    rows, files = rows_of(audited), image_files(audited)
    sections = page.all("section", kind="class")
    assert [words(section.one("h3")) for section in sections] == [
        item.name for item in read_manifest(audited).classes if item.synthetic
    ]
    found = []
    for section in sections:
        for card in section.all("li", kind="card"):
            key = words(card.one("span", kind="key"))
            image = card.one("img")
            assert rows[key]["label"] == int(section.attributes["data-label"])
            assert image.attributes["alt"] == f"synthetic image {key}, class {rows[key]['class_name']}"
            stored = Image.open(io.BytesIO(files[f"{key}.png"])).convert("RGB")
            assert (pixels(image.attributes["src"]) == np.asarray(stored)).all()
            found.append(key)
    # All of them: no class has as many as would be shown.
    assert sorted(found) == sorted(rows)


def test_each_image_stands_beside_its_real_sources(page: Element, audited: Path) -> None:
    rows = rows_of(audited)
    real = {image.attributes["id"]: image.attributes["href"] for image in page.all("image")}
    for card in page.one("section", id="images").all("li", kind="card"):
        row = rows[words(card.one("span", kind="key"))]
        drawn = card.all("svg")
        assert [svg.attributes["aria-label"] for svg in drawn] == [
            f"real image {source['id']}" for source in row["sources"]
        ]
        assert len(drawn) == 2
        for svg in drawn:
            place = svg.one("use").attributes["href"].removeprefix("#")
            assert pixels(real[place]).shape == (32, 32, 3)


def test_the_script_is_given_each_history_in_the_words_of_show(
    page: Element, audited: Path, cli: Cli
) -> None:
    data = data_of(page)
    image = data["images"][5]
    told = [data["lines"][place] for place in image["history"]]
    said = output_of(cli, "show", audited, image["key"])
    assert [name for name, _ in told][:3] == ["image", "class", "method"]
    assert [" ".join(line) for line in told] == [" ".join(line.split()) for line in said.splitlines()]
    row = rows_of(audited)[image["key"]]
    assert image["numbers"]["lam"] == round(row["lam"], 6)
    assert image["numbers"]["attempt"] == row["attempt"] + 1
    title, note, uri, cells = image["mixed"]
    assert title.startswith("conditioning, ")
    assert f"{row['lam']:.2f} of the first" in note
    assert cells and len(np.unique(pixels(uri).reshape(-1, 3), axis=0)) > 1


def test_without_the_real_images_the_page_says_why(copy: Path, cli: Cli) -> None:
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_per_class: 8", "max_per_class: 2"))
    reseal(copy, "recipe.yaml")
    page = page_of(cli, copy)
    assert "The real images are not shown." in words(page.one("section", id="images"))
    assert "real images not here" in words(page.one("section", id="images").all("p", kind="note")[0])
    card = page.one("section", id="images").all("li", kind="card")[0]
    assert not card.all("svg")
    source = data_of(page)["images"][0]["sources"][0]
    assert source[1].startswith("digits/") and source[2] is None


def test_which_images_are_shown_is_a_rule_and_a_seed(cli: Cli, flat_release: Path) -> None:
    few = np.arange(0, 300, 3)
    chosen = pick(few, 5, seed=0, label=2)
    assert len(chosen) == 5
    assert all(
        20 * place <= np.searchsorted(few, index) < 20 * (place + 1) for place, index in enumerate(chosen)
    )
    assert (pick(few, 5, seed=0, label=2) == chosen).all()
    assert (pick(few, 5, seed=1, label=2) != chosen).any()
    assert (pick(few, 5, seed=0, label=3) != chosen).any()
    assert (pick(few, 100, seed=0, label=2) == few).all()
    told = words(page_of(cli, flat_release, "--seed", "3").one("section", id="images"))
    assert "a number drawn from the seed 3 picks one of each" in told
    assert "synthkit page --seed 4 shows others" in told


def test_more_classes_get_fewer_and_smaller_images() -> None:
    assert plans_that_fit(lambda plan: 10 * plan.per_class, lambda plan: 40.0 * plan.edge)[0] == PLANS[0]
    of_many = plans_that_fit(lambda plan: 1000 * plan.per_class, lambda plan: 40.0 * plan.edge)[0]
    assert 0 < of_many.per_class < PLANS[0].per_class
    assert of_many.edge < PLANS[0].edge
    assert shown_labels(range(50_000))[0] == 0
    assert shown_labels(range(50_000))[-1] == 49_999
    assert len(set(shown_labels(range(50_000)))) == 1200


def test_a_page_that_came_out_too_large_is_made_again_with_less(
    cli: Cli, flat_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = len(data_of(page_of(cli, flat_release))["images"])
    most = int(0.7 * (cli.folder / "looked.html").stat().st_size)
    monkeypatch.setattr("synthkit.page.release.MOST_BYTES", most)
    fewer = page_of(cli, flat_release)
    assert (cli.folder / "looked.html").stat().st_size <= most
    assert 0 < len(data_of(fewer)["images"]) < images
    (cli.folder / "looked.html").unlink()
    monkeypatch.setattr("synthkit.page.release.MOST_BYTES", 1000)
    told = cli("page", flat_release)
    assert told.exit_code == 1
    assert "too many classes, or too long names, for a page" in told.output.splitlines()[-1]
    assert not list(cli.folder.glob("*.html"))


# --- numbers, recipe, use ---


def test_numbers_are_of_all_images(page: Element, audited: Path) -> None:
    section, manifest = page.one("section", id="numbers"), read_manifest(audited)
    rows = section.one("table", kind="classes").one("tbody").all("tr")
    assert [[words(cell) for cell in (*row.all("th"), *row.all("td"))][:5] for row in rows] == [
        [item.name, str(item.label), item.group, str(item.real), str(item.synthetic)]
        for item in manifest.classes
    ]
    shares = section.one("figure", kind="histogram")
    assert words(shares.one("figcaption")) == "λ, the share of the first real image"
    counted = [int(words(row.all("td")[1])) for row in shares.one("tbody").all("tr")]
    lam = [row["lam"] for row in rows_of(audited).values()]
    assert counted == np.histogram(lam, 24, (0, 1))[0].tolist()
    assert len(shares.all("rect")) == sum(count > 0 for count in counted)


def test_the_recipe_and_the_commands_stand_there_to_be_copied(page: Element, audited: Path) -> None:
    assert page.one("code", id="recipe-text").text == (audited / "recipe.yaml").read_text()
    assert 'load_dataset("releases/small", split="train", streaming=True)' in page.one("code", id="load").text
    assert "synthkit verify releases/small" in page.one("code", id="check").text
    for button in page.all("button", kind="copy"):
        assert "hidden" in button.attributes
        page.one("code", id=button.attributes["data-copy"])


def test_the_audit_stands_there_with_pairs_and_groups(page: Element, audited: Path) -> None:
    section, found = page.one("section", id="copies"), json.loads((audited / "audit.json").read_text())
    pairs = section.one("ul", kind="pairs").all("img", kind="realimage")
    assert [image.attributes["alt"] for image in pairs] == [
        f"real image {pair['real']}" for pair in found["pairs"][:16]
    ]
    assert pixels(pairs[0].attributes["src"]).shape == (112, 112, 3)
    sheet = np.asarray(Image.open(audited / "audit.png").convert("RGB"))
    # Lossy, so near: the real image of the first pair.
    there = sheet[56:168, 16 + 120 : 16 + 232].astype(int)
    assert abs(pixels(pairs[0].attributes["src"]).astype(int) - there).mean() < 12
    assert f"{found['suspected']} of {found['images']} images" in words(section)
    groups = section.all("ul", kind="small")
    assert len(groups) == min(len(found["duplicates"]["largest"]), 8)
    assert words(groups[0].all("span", kind="key")[0]) == next(
        iter(found["duplicates"]["largest"][0]["members"])
    )


# --- what cannot be trusted ---


def test_hostile_names_are_shown_and_inert(copy: Path, cli: Cli) -> None:
    rename_classes(copy)
    page = page_of(cli, copy)
    assert len(page.all("script")) == 2
    assert not [image for image in page.all("img") if "onerror" in image.attributes]
    shown = [words(section.one("h3")) for section in page.all("section", kind="class")][: len(HOSTILE)]
    assert shown[:3] == [MARKUP, ARABIC, "two lines 猫"]
    assert shown[3] == f"{LONG[:120]}… (10,000 letters)"
    assert shown[4] == "\\u202eevil\\x07{{ 7 * 7 }}"
    lines = [text for name, text in data_of(page)["lines"] if name == "class"]
    assert any(text.startswith(f"0, {MARKUP}") for text in lines)
    source = (cli.folder / "looked.html").read_text()
    assert MARKUP not in source and "\u202e" not in source and LONG not in source


def test_the_page_allows_nothing_but_its_own_style_and_script(page: Element) -> None:
    (policy,) = (
        meta.attributes["content"]
        for meta in page.all("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style, script = page.one("style").text, page.all("script")[-1].text
    for rule, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed.pop(rule) == f"'sha256-{digest}'"
    assert allowed == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    for element in ("a", "img", "image", "use"):
        for one in page.all(element):
            link = one.attributes.get("href") or one.attributes["src"]
            assert link.startswith(("#", "data:image/webp;base64,")), link
    assert not re.search(r"url\(|@import", style)
    assert not [
        1 for tag in ("div", "span", "p", "svg", "rect") for one in page.all(tag) if "style" in one.attributes
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_releases_of_every_format_have_a_page(form: str, cli: Cli) -> None:
    release = DATA / form
    page, manifest = page_of(cli, release), read_manifest(release)
    images = data_of(page)["images"]
    assert len(images) == manifest.images
    assert manifest.method in words(page.one("header"))
    told = {title for image in images for title, *_ in image["sources"]}
    assert told == (
        {"of another source"} if manifest.retrieval else {"source"} if manifest.strength else told
    )
    assert all(place is not None for image in images for _, _, place, _ in image["sources"])


def test_pixels_that_were_mixed_are_drawn(cli: Cli) -> None:
    gate = "filters={near_copy: {max_similarity: 0.999}}"
    settings = ("--set", "conditioning.method=cutmix", "--set", gate, "--limit", "5")
    run_build(cli, cli.recipe(), *FLAT, *settings)
    page = page_of(cli, cli.folder / "releases/small-preview")
    assert words(page.one("p", kind="kind")) == "Preview of a release"
    image = data_of(page)["images"][0]
    title, _, uri, cells = image["mixed"]
    assert (title, cells) == ("conditioning, mixed", False)
    assert pixels(uri).shape == (224, 224, 3)
    assert all(len(crop) == 4 for *_, crop in image["sources"])
    # What the gate measured can be filtered by, and is counted.
    ranges = [fieldset.attributes["data-range"] for fieldset in page.all("fieldset")]
    assert ranges == ["lam", "near_copy.similarity"]
    similar = [image["numbers"]["near_copy.similarity"] for image in data_of(page)["images"]]
    low, high = (box.attributes["placeholder"] for box in page.all("fieldset")[1].all("input"))
    assert (low, high) == (f"{min(similar):.3g}", f"{max(similar):.3g}")
    titles = [words(title) for title in page.all("figcaption")]
    assert titles[1] == "Similarity to the nearest real image"
    # Classes that the preview has not reached.
    assert "have no images here: " in words(page.one("section", id="images"))


def test_the_same_release_gives_the_same_page(cli: Cli, flat_release: Path, parquet_release: Path) -> None:
    for name in ("one", "two"):
        output_of(cli, "page", flat_release, "--out", f"{name}.html")
    assert sha256_of(cli.folder / "one.html") == sha256_of(cli.folder / "two.html")
    output_of(cli, "page", parquet_release)
    images = parse(cli.folder / "small.html").one("section", id="images")
    same = parse(cli.folder / "one.html").one("section", id="images")
    assert [image.attributes for image in images.all("img")] == [
        image.attributes for image in same.all("img")
    ]
