"""COCO as distributed: the label of the largest annotation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthkit.sources.base import load_image
from tests.helpers import miniatures
from tests.helpers.opening import opened, refused


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
