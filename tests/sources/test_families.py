"""The table of families: every kind that a recipe may name opens, and says what opening it looks into."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from synthkit.recipe.families import SOURCES
from synthkit.sources import held_out, open_source
from synthkit.sources.families import FAMILIES, paths_read
from tests.helpers import miniatures
from tests.helpers.opening import config, refused


def test_every_kind_of_a_recipe_is_in_the_table() -> None:
    assert list(FAMILIES) == list(SOURCES)


@pytest.mark.parametrize("kind", FAMILIES)
def test_each_family_opens_and_says_what_it_looks_into(kind: str) -> None:
    module, _, function = FAMILIES[kind].partition(":")
    assert callable(getattr(import_module(module), function))
    assert callable(import_module(module).paths_read)


def test_what_opening_a_source_looks_into(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert paths_read(config(kind="digits")) == []
    assert paths_read(config(kind="folder", root=root)) == [tmp_path]
    assert paths_read(config(kind="listing", list="l.txt", root=root, names="imagenet")) == []
    assert paths_read(config(kind="hub", id=root)) == [tmp_path]
    assert paths_read(config(kind="coco", root=root, split="val")) == [
        tmp_path / "annotations" / "instances_val2017.json",
        tmp_path / "val2017",
    ]
    assert tmp_path / "jpg" in paths_read(config(kind="flowers102", root=root))
    assert tmp_path / "VOC2012" / "JPEGImages" in paths_read(config(kind="voc", root=root))


def test_a_new_family_is_a_line_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flat_files.py").write_text(
        "from synthkit.sources.folder import open_folder, paths_read\n"
        "def open_flat(config):\n    return open_folder(config)\n"
    )
    miniatures.caltech101(tmp_path / "images", per_class=3)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FAMILIES, "folder", "flat_files:open_flat")
    source = config(kind="folder", root=str(tmp_path / "images"))
    assert len(open_source(source).listing)
    assert paths_read(source) == [tmp_path / "images"]


def test_what_scores_each_family(coco: Path, voc: Path, flowers: Path, caltech: str) -> None:
    assert (
        open_source(held_out(config(kind="coco", root=str(coco), shots=1)))
        .listing.ids[0]
        .startswith("val2017/")
    )
    assert len(open_source(held_out(config(kind="voc", root=str(voc)))).listing) == 20
    flower = held_out(config(kind="flowers102", root=str(flowers), split="train", shots=1))
    assert len(open_source(flower).listing) == 204
    assert len(open_source(held_out(config(kind="digits"))).listing) == 300
    with refused("has no held-out part", "add `halve: {seed: 0}` to the source, or `shots`, or say where"):
        held_out(config(kind="folder", root=caltech))
    few = held_out(config(kind="digits", part="unseen", shots=2, trial=3))
    assert len(open_source(few).listing) == 880
