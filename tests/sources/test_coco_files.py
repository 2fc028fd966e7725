"""Files in COCO's format as people and tools write them: they work, or one line says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkit.sources.areas import area_of
from synthkit.sources.base import Source, load_image
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.opening import Settings, opened, refused

Change = Callable[[dict[str, Any]], object]


def small_set() -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "area": 4, "bbox": [0, 0, 2, 2]},
            {"id": 2, "image_id": 2, "category_id": 2, "area": 4, "bbox": [0, 0, 2, 2]},
            {"id": 3, "image_id": 2, "category_id": 1, "area": 3, "bbox": [0, 0, 3, 1]},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A set of one's own, without a root: two images in a folder, one in a folder of it."""
    for number, name in enumerate(("a.png", "b.png", "sub/b.png")):
        miniatures.photo(tmp_path / "images" / name, number)
    return {"kind": "coco", "images": str(tmp_path / "images"), "annotations": str(tmp_path / "set.json")}


def written(own: Settings, *changes: Change, encoding: str = "utf-8") -> Settings:
    data = small_set()
    for change in changes:
        change(data)
    Path(own["annotations"]).write_bytes(json.dumps(data).encode(encoding))
    return own


def put(*path: str | int, value: Any) -> Change:
    def change(data: Any) -> None:
        *above, last = path
        for key in above:
            data = data[key]
        data[last] = value

    return change


def without(*fields: str) -> Change:
    return lambda data: [item.pop(field) for item in data["annotations"] for field in fields]


def run_lengths(runs: list[int]) -> str:
    """COCO's text of a mask: as rleToString of pycocotools writes it."""
    text = ""
    for place, run in enumerate(runs):
        left = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            bits, left = left & 0x1F, left >> 5
            more = left != (-1 if bits & 0x10 else 0)
            text += chr(bits + 48 + (0x20 if more else 0))
    return text


def labels(source: Source) -> list[int]:
    return [int(label) for label in source.listing.labels]


def test_a_set_of_ones_own_needs_no_root(own: Settings) -> None:
    source = opened(**written(own))
    assert (source.listing.ids, labels(source), source.notes) == (("a.png", "b.png"), [0, 1], ())
    assert load_image(source, 0).size == (24, 20)
    # What is missing of it is not to be had where COCO is.
    Path(own["annotations"]).unlink()
    with refused("source.annotations: there is no ", "set.json"):
        opened(**own)


def test_a_root_is_needed_else(cli: Cli) -> None:
    result = cli("plan", cli.recipe(), "--set", "source.kind=coco")
    assert result.exit_code == 1
    assert "source: root is missing: the folder that holds train2017/" in result.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("images", 1, "id", value=1), "set.json: image 1 is listed twice, as a.png and as b.png"),
        (put("images", 1, "file_name", value="./a.png"), "set.json: images 1 and 2 are one file, a.png"),
        (put("categories", 1, "id", value=1), "set.json: category 1 is listed twice, as 'cat' and as 'dog'"),
        (put("categories", 1, "name", value="cat"), "set.json: categories 1 and 2 are both called 'cat'"),
        (put("annotations", 2, "id", value=2), "set.json: annotation 2 is listed twice"),
        (put("annotations", 2, "category_id", value=9), "annotation 3 is of category 9, which is not listed"),
        (put("annotations", 2, "area", value=-1), "set.json: annotation 3: its area is -1.0"),
        (put("annotations", 2, "area", value="-1"), "set.json: annotation 3: its area is '-1'"),
        (put("annotations", 2, "area", value="large"), "set.json: annotation 3: its area is 'large'"),
        (put("annotations", 2, "area", value=float("nan")), "NaN is not a number in JSON: write null"),
        (put("annotations", 2, "area", value=float("-inf")), "Infinity is not a number in JSON: write null"),
        (put("images", 0, "file_name", value="/data/a.png"), "below source.images, and begins with /"),
        (put("images", 0, "file_name", value="D:\\x\\a.png"), "image 1: 'D:/x/a.png' must be"),
        (put("images", 0, "file_name", value="..\\a.png"), "image 1: '../a.png' must be a path"),
        (put("images", 0, "file_name", value="http://x.org/a.png"), "leave out the drive or address"),
        (lambda data: data.pop("categories"), "missing required field `categories`"),
        (lambda data: data.pop("images"), "missing required field `images`"),
        (lambda data: data.pop("annotations"), "missing required field `annotations`"),
        (put("annotations", value=[]), "set.json: has no image with an annotation"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_told_with_file_and_id(own: Settings, change: Change, told: str) -> None:
    with refused(told):
        opened(**written(own, change))


def test_annotations_of_images_that_are_not_listed_are_counted_and_told(own: Settings, cli: Cli) -> None:
    lost = {"id": 8, "image_id": 77, "category_id": 2, "area": 9}
    written(own, lambda data: data["annotations"].append(lost))
    assert labels(opened(**own)) == [0, 1]
    flags = [word for name, value in own.items() for word in ("--set", f"source.{name}={value}")]
    result = cli("plan", cli.recipe(), *flags)
    assert result.exit_code == 0, result.output
    assert "set.json: 1 of 4 annotations are of images that are not listed" in result.output
    assert json.loads(cli("plan", cli.recipe(), *flags, "--json").stdout)["notes"][0].endswith("of image 77")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ([without("area")], "3 of 3 annotations state no area: it is that of the bbox (3)"),
        ([put("annotations", 1, "area", value=None)], "1 of 3 annotations state no area"),
        ([put("annotations", 1, "area", value="4.0")], None),
        ([without("area"), put("annotations", 1, "bbox", value=["0", "0", "2", "2.0"])], "the bbox (3)"),
        (
            [without("area", "bbox"), put("annotations", 1, "segmentation", value=[[0, 0, 4, 0, 4, 4]]),
             put("annotations", 2, "segmentation", value=[0, 0, 1, 0, 1, 1])],
            "it is that of the segmentation (2), 1 have neither bbox nor segmentation",
        ),
        (
            [without("area", "bbox"), put("annotations", 1, "segmentation", value={"counts": [5, 9, 2]}),
             put("annotations", 2, "segmentation", value={"counts": run_lengths([70, 8, 3])})],
            "it is that of the segmentation (2), 1 have neither",
        ),
    ],
)  # fmt: skip
def test_an_area_that_is_left_out_is_that_of_the_box_or_the_outline(
    own: Settings, changes: list[Change], note: str | None
) -> None:
    source = opened(**written(own, *changes))
    assert labels(source) == [0, 1]
    assert [note in told for told in source.notes] == [True] * len(source.notes)
    assert bool(source.notes) is bool(note)


def test_areas_that_nobody_can_know_are_not_guessed(own: Settings) -> None:
    with refused("set.json: which annotation of image 2 is the largest? 3 or another has neither area nor"):
        opened(**written(own, without("area", "bbox")))
    # Of one class there is nothing to decide.
    source = opened(**written(own, without("area", "bbox"), put("annotations", 2, "category_id", value=2)))
    assert labels(source) == [0, 1]


def test_areas_of_outlines() -> None:
    square = [[0, 0, 10, 0, 10, 10, 0, 10], [20, 20, 20, 22, 22, 22, 22, 20]]
    assert area_of(b"null", json.dumps(square).encode()) == (104.0, "the segmentation")
    for runs in ([5, 3, 900, 31, 33, 70_000, 2], [0, 4], [16, 15, 17, 1, 640 * 480]):
        coded = json.dumps({"size": [9, 9], "counts": run_lengths(runs)}).encode()
        assert area_of(b"[]", coded) == (sum(runs[1::2]), "the segmentation")
    for box in (b"[0, 0, -2, 2]", b"[1, 2]", b'["a", 0, 1, 1]', b"null", b"{}"):
        assert area_of(box, b"[]")[0] == float("inf")


def in_words(data: dict[str, Any]) -> None:
    for image in data["images"]:
        image["id"] = f"image {image['id']}"
    for item in data["annotations"]:
        item |= {"id": str(item["id"]), "image_id": f"image {item['image_id']}"}
        item["category_id"] = float(item["category_id"])


def some_in_words(data: dict[str, Any]) -> None:
    for image in data["images"]:
        image["id"] = str(image["id"])
    for category in data["categories"]:
        category["id"] = str(category["id"])


@pytest.mark.parametrize("change", [in_words, some_in_words, without("id")])
def test_ids_may_be_texts_or_left_out(own: Settings, change: Change) -> None:
    source = opened(**written(own, change))
    assert (source.listing.classes, labels(source)) == (("cat", "dog"), [0, 1])


def test_classes_stand_in_the_order_of_their_ids(own: Settings) -> None:
    def renumbered(data: dict[str, Any]) -> None:
        new: dict[int, Any] = {1: "10", 2: 2}
        for item in (*data["categories"], *data["annotations"]):
            key = "category_id" if "category_id" in item else "id"
            item[key] = new[item[key]]

    assert opened(**written(own, renumbered)).listing.classes == ("dog", "cat")


def test_equal_areas_are_decided_by_the_lowest_id_whatever_its_kind(own: Settings) -> None:
    def tied(data: dict[str, Any]) -> None:
        for item in data["annotations"]:
            item |= {"area": 5, "id": {1: "x", 2: "b", 3: "a"}[item["id"]]}

    assert labels(opened(**written(own, tied))) == [0, 0]


def test_marks_of_byte_order_and_other_encodings(own: Settings) -> None:
    assert labels(opened(**written(own, encoding="utf-8-sig"))) == [0, 1]
    assert labels(opened(**written(own, in_words, encoding="utf-8-sig"))) == [0, 1]
    with refused("set.json: is text in UTF-16; save it as UTF-8"):
        opened(**written(own, encoding="utf-16"))
    Path(own["annotations"]).write_bytes(json.dumps(small_set()).replace("dog", "caf\xe9").encode("latin-1"))
    with refused("set.json: is not an instances file of COCO: Invalid UTF-8", "save it as UTF-8"):
        opened(**own)


def test_paths_of_windows_and_of_folders(own: Settings) -> None:
    source = opened(**written(own, put("images", 1, "file_name", value=".\\sub\\b.png")))
    assert source.listing.ids == ("a.png", "sub/b.png")
    assert load_image(source, 1).size == (24, 20)


def test_a_category_of_id_0_and_one_without_images(own: Settings, cli: Cli) -> None:
    def animals(data: dict[str, Any]) -> None:
        data["categories"].insert(0, {"id": 0, "name": "animals"})

    written(own, animals)
    assert opened(**own, classes={"animals": None}).listing.classes == ("cat", "dog")
    flags = [word for name, value in own.items() for word in ("--set", f"source.{name}={value}")]
    assert "no real image of class animals" in cli("plan", cli.recipe(), *flags).output
