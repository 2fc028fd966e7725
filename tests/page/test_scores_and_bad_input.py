"""`synthkit page RELEASE`: scores on the page, and what makes no page: damage, other scores, bad places."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from synthkit.page.numbers import numbers_of
from synthkit.release.files import CARD, MANIFEST, SHARDS, table_path
from synthkit.release.image import read_chosen
from synthkit.release.manifest import read_manifest
from tests.conftest import Cli
from tests.helpers.commands import error_of, output_of
from tests.helpers.forging import reseal
from tests.helpers.pages import page_of, words
from tests.helpers.scores import ECD, REAL, put, score


@pytest.fixture
def copy(flat_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(flat_release, tmp_path / "copies" / "small"))


# --- scores ---


@pytest.fixture(scope="module")
def scores(flat_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a score of the release, one of real images alone, and one of another release."""
    folder, manifest = tmp_path_factory.mktemp("scores"), read_manifest(flat_release)
    of_release = score(ECD, method=manifest.method, name="small", version="1.2.3", fid=4.5, vendi=3.25)
    facts = of_release.release.model_copy(  # type: ignore[union-attr]
        update={"recipe_digest": manifest.recipe_digest, "seal": manifest.seal}
    )
    put(folder, "small", of_release.model_copy(update={"release": facts}))
    put(folder, "real", score(REAL))
    put(folder, "other", of_release)
    return folder


def test_a_score_tells_which_classes_gained(cli: Cli, flat_release: Path, scores: Path) -> None:
    section = page_of(cli, flat_release, "--score", scores / "small.json").one("section", id="scores")
    told = words(section)
    assert "digits-lt, version 1" in told
    everything = section.all("tbody")[0].all("tr")[0]
    accuracy, real = sum(ECD) / 4, sum(REAL) / 4
    cells = [words(cell) for cell in everything.all("td")]
    assert cells[0] == f"{accuracy:.1%}".replace("%", " %")
    assert cells[3] == f"{real:.1%}".replace("%", " %")
    assert float(cells[4]) == pytest.approx(100 * (accuracy - real), abs=0.051)
    gains = section.one("table", kind="gains").one("tbody").all("tr")
    assert len(gains) == 10
    values = [float(words(row.all("td")[2]).replace("−", "-")) for row in gains]
    assert values == sorted(values, reverse=True)
    assert "of 10 classes 10 gained and 0 lost" in told
    facts = [(words(row.one("dt")), words(row.one("dd"))) for row in section.one("dl").all("div")]
    assert ("FID (0 is the same)", "4.5") in facts


def test_without_real_only_scores_there_are_no_differences(
    cli: Cli, flat_release: Path, scores: Path
) -> None:
    for name in ("small.json", "small.parquet"):
        shutil.copy(scores / name, cli.folder)
    section = page_of(cli, flat_release, "--score", cli.folder / "small.json").one("section", id="scores")
    assert not section.all("table", kind="gains")
    assert "synthkit eval --real-only makes one" in words(section)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("other.json", "is a score of small 1.2.3 with recipe digest dddddddddddd, not of small 1.2.3"),
        ("real.json", "is a score of real images alone"),
        ("none.json", "there is no such score file"),
    ],
)
def test_a_score_of_something_else_is_refused(
    cli: Cli, flat_release: Path, scores: Path, name: str, told: str
) -> None:
    assert told in error_of(cli, "page", flat_release, "--score", scores / name)


# --- bad input ---


def test_a_release_without_a_manifest_is_told_so(copy: Path, cli: Cli) -> None:
    (copy / MANIFEST).unlink()
    assert "manifest.json" in error_of(cli, "page", copy)


def test_numbers_that_json_has_no_word_for_are_left_out(flat_release: Path) -> None:
    (one,) = read_chosen(flat_release, read_manifest(flat_release), [0])
    odd = msgspec.structs.replace(one.record, lam=float("nan"))
    assert "lam" in numbers_of(one.record)
    assert "lam" not in numbers_of(odd)


def test_a_damaged_release_makes_no_page(copy: Path, cli: Cli) -> None:
    shard = sorted(copy.glob(SHARDS))[1]
    content = shard.read_bytes()
    shard.write_bytes(content[:-1024])
    assert "its manifest says" in error_of(cli, "page", copy)
    changed = bytearray(content)
    changed[content.index(b"\x89PNG") + 60] ^= 1
    shard.write_bytes(bytes(changed))
    assert "is not the image of its record; run synthkit verify" in error_of(cli, "page", copy)
    shard.unlink()
    assert f"{shard.name}: is missing; run synthkit verify" in error_of(cli, "page", copy)


def test_records_or_a_manifest_that_say_something_else_make_no_page(copy: Path, cli: Cli) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["classes"][0]["synthetic"] += 1
    (copy / MANIFEST).write_text(json.dumps(manifest))
    assert "its seal does not fit; run synthkit verify" in error_of(cli, "page", copy)
    reseal(copy, CARD)
    assert "its records have other numbers of images of each class" in error_of(cli, "page", copy)
    (copy / table_path(0)).write_bytes(b"PAR1")
    reseal(copy, table_path(0))
    assert str(table_path(0)) in error_of(cli, "page", copy)


def test_a_place_that_cannot_be_written_is_named(cli: Cli, flat_release: Path) -> None:
    assert "there is no folder missing; make it" in error_of(
        cli, "page", flat_release, "--out", "missing/a.html"
    )
    assert "lies inside the release" in error_of(cli, "page", flat_release, "--out", flat_release / "a.html")
    (cli.folder / "folder.html").mkdir()
    assert "folder.html" in error_of(cli, "page", flat_release, "--out", "folder.html")
    told = error_of(cli, "page", cli.folder)
    assert "holds neither a release (it has no manifest.json) nor scores; `synthkit build` makes" in told
    assert "there is no such folder" in error_of(cli, "page", "nowhere")


def test_nothing_but_a_page_is_replaced(cli: Cli, flat_release: Path) -> None:
    (cli.folder / "small.html").write_text("<h1>Mine</h1>")
    assert "small.html: is there, and is not a page of synthkit" in error_of(cli, "page", flat_release)
    assert (cli.folder / "small.html").read_text() == "<h1>Mine</h1>"
    (cli.folder / "small.html").unlink()
    for _ in range(2):
        output_of(cli, "page", flat_release)


def test_what_does_not_go_together_is_told(cli: Cli, flat_release: Path) -> None:
    put(cli.folder / "scores", "a", score(REAL))
    told = error_of(cli, "page", flat_release, "scores")
    assert f"{flat_release}: is a release, and a page is of one release or of scores" in told
    assert f"synthkit page {flat_release} --score FILE" in told
    assert "--seed: chooses images, and the page of scores has none" in error_of(
        cli, "page", "scores", "--seed", "1"
    )


def test_a_misspelt_release_is_answered_by_the_nearest(cli: Cli, flat_release: Path) -> None:
    shutil.copytree(flat_release, cli.folder / "releases/small")
    for typed in ("releases/smal", "smal", "small"):
        for command in ("page", "verify", "show"):
            assert f"{typed}: there is no such folder (did you mean releases/small?)" in error_of(
                cli, command, typed
            )
    told = error_of(cli, "publish", "releases/smal", "lab/digits")
    assert told == "error: releases/smal: there is no such folder (did you mean releases/small?)"
    told = error_of(cli, "build", "releases/small")
    assert told.endswith("is a folder, not a recipe; there is releases/small/recipe.yaml in it")
