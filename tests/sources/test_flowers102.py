"""Oxford 102 Flowers as distributed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from tests.helpers.opening import opened, refused


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
