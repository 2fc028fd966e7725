"""A list of paths and labels, as long-tailed benchmarks are distributed."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkit.sources.base import load_image
from synthkit.sources.listing import imagenet_names
from tests.helpers import miniatures
from tests.helpers.opening import Settings, opened, refused


@pytest.fixture
def listing(tmp_path: Path) -> Settings:
    miniatures.imagenet(tmp_path / "imagenet", [0, 1, 2], 2, tmp_path / "list.txt")
    return {
        "kind": "listing",
        "list": str(tmp_path / "list.txt"),
        "root": str(tmp_path / "imagenet"),
        "names": ["tench", "goldfish", "great white shark"],
    }


def lines(settings: Settings, *replaced: str) -> None:
    path = Path(settings["list"])
    path.write_text("\n".join([*replaced, *path.read_text().splitlines()[len(replaced) :]]))


def test_a_list_keeps_its_order_and_ids(listing: Settings) -> None:
    lines(listing, "train/n01440765/n01440765_1.JPEG 1", "train/n01440764/n01440764_0.JPEG 0")
    lines(listing, "train/n01440765/n01440765_1.JPEG\t1  ")
    path = Path(listing["list"])
    text = path.read_text().splitlines()
    path.write_text("\r\n".join(dict.fromkeys([text[0], text[1], *text[4:], ""])))
    source = opened(**listing)
    assert source.listing.ids[:2] == ("train/n01440765/n01440765_1.JPEG", "train/n01440764/n01440764_0.JPEG")
    assert source.listing.labels.tolist() == [1, 0, 2, 2]
    assert load_image(source, 0).size == (24, 20)


def test_a_root_without_the_train_level_gives_the_same_ids(listing: Settings) -> None:
    whole = opened(**listing)
    inner = opened(**{**listing, "root": f"{listing['root']}/train"})
    assert inner.listing.ids == whole.listing.ids
    assert [inner.read(i) for i in range(6)] == [whole.read(i) for i in range(6)]


def test_names_with_spaces_in_a_list(listing: Settings) -> None:
    miniatures.photo(Path(listing["root"]) / "train/great white/é 1.JPEG", 77)
    lines(listing, "train/great white/é 1.JPEG 2")
    source = opened(**listing)
    assert source.listing.ids[0] == "train/great white/é 1.JPEG"
    assert load_image(source, 0).size == (24, 20)


def test_imagenets_names_are_all_synonyms() -> None:
    names = imagenet_names()
    assert names == tuple(row["name"] for row in miniatures.imagenet_lt_classes())
    assert (names[0], names[134], names[517]) == ("tench, Tinca tinca", "crane", "crane")


def test_imagenets_two_cranes_stay_two_classes(listing: Settings, tmp_path: Path) -> None:
    miniatures.imagenet(tmp_path / "birds", [134, 517], 2, tmp_path / "cranes.txt")
    settings = {
        **listing,
        "list": str(tmp_path / "cranes.txt"),
        "root": str(tmp_path / "birds"),
        "names": "imagenet",
    }
    both = opened(**settings, subset=["crane"], classes={"tench, Tinca tinca": "tench"})
    assert both.listing.classes == ("crane", "crane")
    assert both.listing.labels.tolist() == [0, 0, 1, 1]
    assert opened(**settings, subset=[517]).listing.ids[0].startswith("train/n01441281/")


def test_names_from_a_file(listing: Settings, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("tench\ngold fish\ngreat white\n")
    assert opened(**{**listing, "names": str(tmp_path / "names.txt")}).listing.classes[1] == "gold fish"
    (tmp_path / "names.txt").write_text("tench\n\ngreat white\n")
    with refused("names.txt: line 2: is empty"):
        opened(**{**listing, "names": str(tmp_path / "names.txt")})
    with refused("source.names: there is no file gone.txt"):
        opened(**{**listing, "names": "gone.txt"})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train/a.JPEG 3", "list.txt: line 1: there is no label 3: source.names has 3 classes, 0 to 2"),
        ("train/a.JPEG -1", "list.txt: line 1: there is no label -1"),
        ("train/a.JPEG 1.5", "list.txt: line 1: the label '1.5' is not a whole number"),
        ("train/a.JPEG cat", "list.txt: line 1: the label 'cat' is not a whole number"),
        ("train/a.JPEG", "list.txt: line 1: 'train/a.JPEG' is not `path label`"),
        ("train/a.JPEG --5", "the label '--5' is not a whole number"),
        pytest.param("train/a.JPEG " + "9" * 5000, "the label '9999", id="a label of 5000 digits"),
        ("./train//n01440766/n01440766_1.JPEG 2", "list.txt: line 6: repeats line 1: train/n01440766/"),
        ("/etc/passwd 1", "list.txt: line 1: '/etc/passwd' must be a path below source.root"),
        ("train/../../a 1", "must be a path below source.root"),
        ("/n01/a.jpg 1", "must be a path below source.root, and begins with /: leave out the / and what"),
        ("D:\\data\\a.jpg 1", "'D:/data/a.jpg' must be a path below source.root: leave out the drive"),
        ("https://x.org/a.jpg 1", "leave out the drive or address"),
        ("train/a b.jpg,1", "line 1: the label 'b.jpg,1' is not a whole number: write a space for the ','"),
        ("train/a.jpg;1", "line 1: 'train/a.jpg;1' is not `path label`: write a space for the ';'"),
        ("train/a.jpg, 1", "write a space for the ',' between path and label"),
        ("path,label", "is it a header? Leave it out"),
        ("filename label", "is it a header? Leave it out"),
        ('"train/a.jpg" 1', "write the path without quotes; it may hold spaces"),
        ("1 train/a.jpg", "the label stands first; write the path first, then the label"),
        ("1,train/a.jpg", "the label stands first"),
        ("train/a.jpg 1.0", "the label '1.0' is not a whole number: write 1"),
        (
            "train/n01440766/n01440766_1.JPEG 2",
            "list.txt: line 6: repeats line 1: train/n01440766/n01440766_1.JPEG",
        ),
    ],
)
def test_a_wrong_line_is_told_by_number(listing: Settings, line: str, told: str) -> None:
    lines(listing, line)
    with refused(told):
        opened(**listing)


def test_labels_that_count_from_one_are_told(listing: Settings) -> None:
    path = Path(listing["list"])
    path.write_text("".join(f"train/{number}.JPEG {number}\n" for number in (1, 2, 3)))
    with refused("line 3: there is no label 3", "labels seem to count from 1 here: take 1 from each"):
        opened(**listing)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_list_as_other_systems_write_it(listing: Settings, ends: str) -> None:
    path = Path(listing["list"])
    before = opened(**listing).listing
    text = path.read_text().replace("train/", ".\\train\\").replace(" ", "\t ").replace("\n", f"  {ends}")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    after = opened(**listing)
    assert after.listing.ids == before.ids
    assert after.listing.labels.tolist() == before.labels.tolist()
    assert load_image(after, 0).size == (24, 20)
    path.write_bytes(text.encode("utf-16"))
    with refused("is not a text file in UTF-8; save it as UTF-8"):
        opened(**listing)


def test_an_empty_list_and_none(listing: Settings) -> None:
    Path(listing["list"]).write_text("\n\n")
    with refused("list.txt: is empty; expected `path label` on each line"):
        opened(**listing)
    Path(listing["list"]).unlink()
    with refused("source.list: there is no file ", "Get it from: https://example.org/list"):
        opened(**listing, available_from="https://example.org/list")
    Path(listing["list"]).write_bytes(b"\xff\xfe\x00")
    with refused("is not a text file in UTF-8"):
        opened(**listing)
