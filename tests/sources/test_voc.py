"""Pascal VOC as distributed: the label of the largest object."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthkit.sources.voc import largest_object
from tests.helpers.opening import opened, refused


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
    with refused("2007_000003.png: it has no palette"):
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
