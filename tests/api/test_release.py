"""A release opened in Python: images, labels and records, for PyTorch and pandas."""

from __future__ import annotations

import io
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.transforms.functional import pil_to_tensor

import synthkit
from synthkit.errors import ReleaseError
from tests.conftest import Cli
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def release(flat_release: Path) -> synthkit.Release:
    return synthkit.open_release(flat_release)


def test_images_come_in_the_order_of_their_keys(release: synthkit.Release) -> None:
    assert (len(release), release.name, release.version, len(release.classes)) == (76, "small", "1.2.3", 10)
    stored = list(release)
    assert [item.record.key for item in stored] == [f"{number:09}" for number in range(76)]
    assert release[30] == stored[30]
    assert release[-1] == stored[75]
    for index in (76, -77):
        with pytest.raises(IndexError):
            release[index]
    pixels = stored[0].pixels()
    assert (pixels.mode, pixels.size) == ("RGB", (32, 32))
    assert release.history(0).splitlines()[0] == "image      000000000 of small 1.2.3"
    assert "\\x89PNG" not in repr(stored[0])


def test_it_tells_what_it_is(release: synthkit.Release, flat_release: Path) -> None:
    assert repr(release) == f"<release small 1.2.3: 76 synthetic images of 10 classes, in {flat_release}>"


def test_records_are_the_table_of_the_release(release: synthkit.Release, flat_release: Path) -> None:
    pd.testing.assert_frame_equal(release.to_pandas(), pd.read_parquet(flat_release / "provenance"))
    some = release.to_pandas(["seed", "key"])
    assert list(some.columns) == ["seed", "key"]
    with pytest.raises(
        ReleaseError, match=r"columns: 'lable' is none \(did you mean label\?\); they are key,"
    ):
        release.to_arrow(["lable"])


def test_what_names_no_image_or_column_is_told(release: synthkit.Release) -> None:
    images = release.torch()
    assert release[np.int64(3)].record.key == "000000003"
    for holder in (release, images):
        for index in (slice(3), "000000003", 1.0, True):
            with pytest.raises(ReleaseError, match=r"index: is .*; give a whole number, as 3 for the image"):
                holder[index]  # type: ignore[index]
        with pytest.raises(IndexError, match="there is no image 76: there are 76, from 0"):
            holder[76]
    with pytest.raises(ReleaseError, match=r"columns: is 'label'; give a list of names, as \['label'\]"):
        release.to_pandas("label")


def tensor(image: Image.Image) -> torch.Tensor:
    return pil_to_tensor(image)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_of_pytorch_sees_every_image_once(release: synthkit.Release, workers: int) -> None:
    images = release.torch(tensor)
    loader = DataLoader(images, batch_size=16, shuffle=True, num_workers=workers)
    seen: Counter[bytes] = Counter()
    for pixels, labels in loader:
        assert pixels.shape[1:] == (3, 32, 32)
        seen.update(
            pixel.numpy().tobytes() + bytes([int(label)]) for pixel, label in zip(pixels, labels, strict=True)
        )
    stored = Counter(
        np.asarray(item.pixels()).transpose(2, 0, 1).tobytes() + bytes([item.record.label])
        for item in release
    )
    assert seen == stored


def test_the_data_set_is_one_of_pytorch(release: synthkit.Release) -> None:
    images = release.torch()
    assert isinstance(images, torch.utils.data.Dataset)
    assert images.labels.tolist() == [item.record.label for item in release]
    assert images[-1][1] == images[75][1]
    with pytest.raises(IndexError):
        images[76]
    again = pickle.loads(pickle.dumps(images))
    assert (len(again), again[3][1], again.classes) == (76, images[3][1], release.classes)


def test_a_release_in_parquet_gives_the_same(release: synthkit.Release, parquet_release: Path) -> None:
    other = synthkit.open_release(str(parquet_release))
    assert [item.image for item in other] == [item.image for item in release]
    mine, theirs = release.torch(), other.torch()
    assert all(mine[place][0] == theirs[place][0] for place in (0, 40, 75))


def test_it_trains_beside_its_real_images(release: synthkit.Release) -> None:
    real = release.real()
    assert len(real) == 44
    assert len(ConcatDataset([real, release.torch()])) == 120
    batches = list(synthkit.mix(real, release.torch(), batch_size=8, transform=tensor))
    assert sum(len(labels) for _, labels in batches) == 2 * 76


def test_a_damaged_release_is_refused_in_one_line(flat_release: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(flat_release, copy)
    shard = copy / "data/train-00001.tar"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"train-00001.tar: .*; it is not opened: build or pull it again$"):
        synthkit.open_release(copy)
    with pytest.raises(synthkit.DamagedRelease) as raised:
        synthkit.verify(copy)
    assert "data/train-00001.tar" in {fault.path for fault in raised.value.faults}
    assert str(raised.value).endswith("fault(s); get it again, or build it with --fresh")
    # Opened all the same, it gives what is whole, and says which image is not.
    opened = synthkit.open_release(copy, verify=False)
    assert len(opened) == 76
    with pytest.raises(ReleaseError, match="run synthkit verify"):
        list(opened)


def test_an_intact_release_is_told_in_numbers(flat_release: Path, cli: Cli) -> None:
    verified = synthkit.verify(flat_release, deep=True)
    assert (verified.path, verified.images, verified.classes, verified.shards) == (flat_release, 76, 10, 4)
    assert (verified.partial_of, verified.signed_by) == (None, None)
    report = cli.folder / "report.json"
    assert cli("verify", flat_release, "--report", report).exit_code == 0
    assert f'"seal": "{verified.seal}"' in report.read_text()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: synthkit.verify("nowhere"), "nowhere: there is no such folder; name a release folder"),
        (lambda: synthkit.open_release(None), "release: is None; give a path"),  # type: ignore[arg-type]
        (lambda: synthkit.open_release(""), "release: is ''; no file or folder has such a name"),
        (lambda: synthkit.open_release(ROOT / "docs"), "is not a release: it has no manifest.json"),
    ],
)
def test_what_is_no_release(call: Any, told: str) -> None:
    with pytest.raises(ReleaseError) as raised:
        call()
    assert told in str(raised.value)


def test_a_signer_that_nobody_can_be(flat_release: Path) -> None:
    with pytest.raises(synthkit.SynthkitError, match="--issuer says who vouches for an identity"):
        synthkit.verify(flat_release, issuer="https://idp.org")
    with pytest.raises(synthkit.SynthkitError, match=r"--signer nobody\.pem: there is no such file"):
        synthkit.verify(flat_release, signer="nobody.pem")


def test_images_are_the_files_that_the_release_has(release: synthkit.Release) -> None:
    with Image.open(io.BytesIO(release[7].image)) as image:
        assert image.convert("RGB") == release[7].pixels()
