"""Each family of real images as it is distributed: what is listed, under which class, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthkit.sources import held_out, open_source
from synthkit.sources.base import load_image
from synthkit.sources.listing import imagenet_names
from synthkit.sources.voc import largest_object
from tests.helpers import miniatures
from tests.helpers.opening import Settings, by_class, config, opened, refused

# --- folder -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def caltech(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(miniatures.caltech101(tmp_path_factory.mktemp("caltech"), per_class=3))


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


# --- listing ----------------------------------------------------------------------------------------


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


# --- flowers102 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.flowers102(tmp_path_factory.mktemp("flowers"), per_class=4)


def test_flowers_are_labelled_by_the_mat_file(flowers: Path) -> None:
    from scipy.io import loadmat

    source = opened(kind="flowers102", root=str(flowers))
    assert len(source.listing) == 408
    assert source.listing.classes[0] == "pink primrose"
    assert source.listing.classes[101] == "blackberry lily"
    assert source.listing.ids[6] == "jpg/image_00007.jpg"
    assert (source.listing.labels + 1).tolist() == loadmat(flowers / "imagelabels.mat")["labels"][0].tolist()


def test_flowers_splits_are_those_of_setid(flowers: Path) -> None:
    parts = {
        name: opened(kind="flowers102", root=str(flowers), split=name) for name in ("train", "valid", "test")
    }
    assert [len(part.listing) for part in parts.values()] == [102, 102, 204]
    ids = [name for part in parts.values() for name in part.listing.ids]
    assert len(set(ids)) == 408
    whole = opened(kind="flowers102", root=str(flowers)).listing
    label_of = dict(zip(whole.ids, whole.labels.tolist(), strict=True))
    test = parts["test"].listing
    assert [label_of[name] for name in test.ids] == test.labels.tolist()


def test_flowers_files_that_are_missing_or_others(flowers: Path, tmp_path: Path) -> None:
    from scipy.io import savemat

    shutil.copytree(flowers, tmp_path / "f")
    settings = {"kind": "flowers102", "root": str(tmp_path / "f")}
    (tmp_path / "f/setid.mat").unlink()
    with refused("there is no ", "setid.mat. Get it from: 102flowers.tgz"):
        opened(**settings, split="train")
    savemat(tmp_path / "f/setid.mat", {"trnid": np.array([[3, 3]], np.uint16)})
    with refused("setid.mat: names an image twice"):
        opened(**settings, split="train")
    savemat(tmp_path / "f/imagelabels.mat", {"labels": np.arange(103, dtype=np.uint8)[None]})
    with refused("imagelabels.mat: labels go from 0 to 102, not from 1 to 102: this is another version"):
        opened(**settings)
    savemat(tmp_path / "f/imagelabels.mat", {"classes": np.arange(3)})
    with refused("imagelabels.mat: has no 'labels': this is another version of the file"):
        opened(**settings)
    (tmp_path / "f/imagelabels.mat").write_bytes(b"no matlab")
    with refused("imagelabels.mat: is not the file that is distributed"):
        opened(**settings)
    with refused("source.root: there is no folder gone; set it to the folder that holds jpg/"):
        opened(kind="flowers102", root="gone")


# --- coco -------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return miniatures.coco(tmp_path / "coco", per_class=2)


def instances(coco: Path) -> Any:
    return json.loads((coco / "annotations/instances_train2017.json").read_text())


def write_instances(coco: Path, data: Any) -> None:
    (coco / "annotations/instances_train2017.json").write_text(json.dumps(data))


def test_coco_takes_the_largest_annotation_and_leaves_images_without_one(coco: Path) -> None:
    source = opened(kind="coco", root=str(coco))
    names = list(miniatures.COCO_CATEGORIES.values())
    assert source.listing.classes == tuple(names)
    assert source.listing.ids == tuple(f"train2017/{7 * n + 9:012d}.jpg" for n in range(8))
    assert source.listing.labels.tolist() == [0, 1, 2, 3] * 2
    assert load_image(source, 7).size == (24, 20)


def test_coco_ties_go_to_the_lowest_annotation(coco: Path) -> None:
    data = instances(coco)
    for item in data["annotations"]:
        item["area"] = 7
    write_instances(coco, data)
    # The first annotation of each image is of the other class.
    assert opened(kind="coco", root=str(coco)).listing.labels.tolist() == [1, 2, 3, 0] * 2


def test_coco_in_an_images_folder_and_with_names_of_its_own(coco: Path) -> None:
    before = opened(kind="coco", root=str(coco)).listing
    (coco / "images").mkdir()
    (coco / "train2017").rename(coco / "images" / "train2017")
    moved = opened(kind="coco", root=str(coco))
    assert moved.listing.ids == before.ids
    assert load_image(moved, 0).size == (24, 20)
    mine = opened(
        kind="coco",
        root=str(coco),
        images=str(coco / "images/train2017"),
        annotations=str(coco / "annotations/instances_train2017.json"),
    )
    assert mine.listing.ids == tuple(name.removeprefix("train2017/") for name in before.ids)


def test_coco_files_of_another_kind(coco: Path) -> None:
    data = instances(coco)
    captions = {**data, "annotations": [{"id": 1, "image_id": 9, "caption": "a dog"}]}
    write_instances(coco, captions)
    with refused("is not an instances file of COCO", "captions, keypoints and panoptic files will not do"):
        opened(kind="coco", root=str(coco))
    write_instances(coco, {**data, "categories": data["categories"][:2]})
    with refused("is of category 13, which is not listed"):
        opened(kind="coco", root=str(coco))
    write_instances(coco, {**data, "images": [{"id": 9, "file_name": "../../etc/passwd"}]})
    with refused("must be a path below source.root"):
        opened(kind="coco", root=str(coco))
    (coco / "annotations/instances_train2017.json").write_text('{"info": ' + "[" * 100_000)
    with refused("is not an instances file of COCO"):
        opened(kind="coco", root=str(coco))
    (coco / "annotations/instances_train2017.json").write_bytes(b"")
    with refused("is not an instances file of COCO"):
        opened(kind="coco", root=str(coco))
    (coco / "annotations/instances_train2017.json").unlink()
    with refused("there is no ", "instances_train2017.json. Get it from: train2017.zip"):
        opened(kind="coco", root=str(coco))


# --- voc --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.voc2012(tmp_path_factory.mktemp("voc"), per_class=1)


def test_voc_takes_the_largest_object_without_border_and_background(voc: Path) -> None:
    source = opened(kind="voc", root=str(voc))
    assert source.listing.ids[1] == "JPEGImages/2007_000001.jpg"
    assert source.listing.labels.tolist() == list(range(20))
    assert source.listing.classes[0] == "aeroplane"
    assert source.listing.classes[19] == "tv monitor"


def test_voc_counts_objects_not_classes() -> None:
    classes = np.array([[1, 1, 1, 1, 2, 2, 2, 255, 255, 255, 255, 0]], np.uint8)
    objects = np.array([[1, 1, 2, 2, 3, 3, 3, 255, 255, 255, 255, 0]], np.uint8)
    # Four pixels of class 1, but in two objects; border is the most of all.
    assert largest_object(classes, objects) == 2
    assert largest_object(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8)) is None
    assert largest_object(np.array([[3, 4]], np.uint8), np.array([[1, 2]], np.uint8)) == 3


@pytest.mark.parametrize("level", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc_may_be_named_at_any_level(voc: Path, level: str) -> None:
    root = voc.parents[len(Path(level).parts) - 1] if level else voc
    assert len(opened(kind="voc", root=str(root)).listing) == 20


def test_voc_that_is_not_as_distributed(voc: Path, tmp_path: Path) -> None:
    with refused("has no ImageSets/Segmentation", "Get it from: VOCtrainval"):
        opened(kind="voc", root=str(tmp_path))
    shutil.copytree(voc, tmp_path / "v")
    settings = {"kind": "voc", "root": str(tmp_path / "v")}
    mask = tmp_path / "v/SegmentationClass/2007_000003.png"
    Image.open(mask).convert("RGB").save(mask)
    with refused("2007_000003.png: it is no palette image"):
        opened(**settings)
    mask.unlink()
    with refused("2007_000003.png: is missing"):
        opened(**settings)
    names = tmp_path / "v/ImageSets/Segmentation/train.txt"
    names.write_bytes(b"\xef\xbb\xbf2007_000001\r\n2007_000002\r\n")
    assert opened(**settings).listing.ids == ("JPEGImages/2007_000001.jpg", "JPEGImages/2007_000002.jpg")
    names.write_text("2007_000001\n2007_000002 -1\n")
    with refused("train.txt: line 2: '2007_000002 -1' is more than a name"):
        opened(**settings)
    names.write_text("2007_000001.jpg\n")
    with refused("train.txt: line 1: '2007_000001.jpg': write the name without its ending"):
        opened(**settings)
    names.write_text("2007_000001\n2007_000002\n2007_000001\n")
    with refused("train.txt: lists 2007_000001 twice"):
        opened(**settings)
    names.write_text("../../secret\n")
    with refused("must be a path below source.root"):
        opened(**settings)


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
    with refused("has no held-out part", "add `halve: {seed: 0}`"):
        held_out(config(kind="folder", root=caltech))
