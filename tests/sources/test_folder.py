"""A folder of class folders: which classes there are, and how they are left out, renamed and merged."""

from __future__ import annotations

from pathlib import Path

from synthkit.sources.base import load_image
from tests.helpers import miniatures
from tests.helpers.opening import by_class, opened, refused


def test_caltech101_with_its_background_class(caltech: str) -> None:
    found = by_class(opened(kind="folder", root=caltech))
    assert list(found) == ["BACKGROUND_Google", "Faces", "Faces_easy", "accordion", "car_side"]
    assert found["Faces"] == [f"Faces/image_{n:04d}.jpg" for n in (1, 2, 3)]


def test_classes_are_left_out_renamed_merged_or_picked(caltech: str) -> None:
    without = opened(kind="folder", root=caltech, classes={"BACKGROUND_Google": None})
    assert list(by_class(without)) == ["Faces", "Faces_easy", "accordion", "car_side"]
    merged = opened(kind="folder", root=caltech, classes={"Faces": "face", "Faces_easy": "face"})
    assert {name: len(ids) for name, ids in by_class(merged).items()} == {
        "BACKGROUND_Google": 3,
        "face": 6,
        "accordion": 3,
        "car_side": 3,
    }
    picked = opened(kind="folder", root=caltech, classes=["car_side", "accordion"])
    assert list(by_class(picked)) == ["accordion", "car_side"]
    assert load_image(picked, 5).size == (24, 20)
    assert picked.listing.ids[5] == "car_side/image_0003.jpg"


def test_a_class_that_is_not_there_is_told_with_the_nearest(caltech: str) -> None:
    with refused("source.classes: there is no class 'acordion' (did you mean accordion?)"):
        opened(kind="folder", root=caltech, classes=["acordion"])
    with refused("source.classes: there is no class 'acordion' (did you mean accordion?)"):
        opened(kind="folder", root=caltech, classes={"acordion": "squeezebox"})
    with refused("source.subset: there is no class 'car' (did you mean "):
        opened(kind="folder", root=caltech, subset=["car"])
    with refused("source.subset: there is no class 5; the source has 5, from 0"):
        opened(kind="folder", root=caltech, subset=[5])
    # What a copy of the data set lacks need not be renamed, but something must be.
    assert (
        len(by_class(opened(kind="folder", root=caltech, classes={"platypus": "duck", "Faces": "face"}))) == 5
    )
    with refused("source.classes: none of its classes is here; there are BACKGROUND_Google, Faces, "):
        opened(kind="folder", root=caltech, classes={"platypus": "duck"})
    with refused("class 1 is called 'a\\x1b[2Jb': a name must be there and printable"):
        opened(kind="folder", root=caltech, classes={"Faces": "a\x1b[2Jb"})
    with refused("class 1 is called ''"):
        opened(kind="folder", root=caltech, classes={"Faces": ""})


def test_a_deeper_folder_is_a_class_where_classes_names_it(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("birds/owl/a.jpg", "birds/owl/deep/b.jpg", "birds/duck/c.jpg", "cat/d e/ä.jpg")
    ):
        miniatures.photo(tmp_path / name, number)
    assert by_class(opened(kind="folder", root=str(tmp_path))) == {
        "birds": ["birds/duck/c.jpg", "birds/owl/a.jpg", "birds/owl/deep/b.jpg"],
        "cat": ["cat/d e/ä.jpg"],
    }
    assert by_class(
        opened(kind="folder", root=str(tmp_path), classes={"birds/owl": "owl", "birds": "other bird"})
    ) == {
        "other bird": ["birds/duck/c.jpg"],
        "owl": ["birds/owl/a.jpg", "birds/owl/deep/b.jpg"],
        "cat": ["cat/d e/ä.jpg"],
    }
