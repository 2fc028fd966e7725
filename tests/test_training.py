"""Half real, half synthetic: what a training loop gets of `synthkit.mix` and `synthkit.real`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from datasets import Dataset, load_dataset
from PIL import Image
from torch.utils.data import IterableDataset
from torchvision.transforms.functional import to_tensor

import synthkit
from synthkit.errors import ReleaseError, SourceError
from synthkit.release.manifest import read_manifest
from tests.conftest import Cli

Pairs = list[tuple[torch.Tensor, int]]


def numbered(count: int, first: int) -> Pairs:
    """Images that hold their own number; the label is it, too."""
    return [(torch.full((1,), float(number)), number) for number in range(first, first + count)]


REAL, SYNTHETIC = numbered(10, 0), numbered(103, 1000)


class Stream(IterableDataset[Any]):
    """A data set that can only be read from its beginning, as a stream from the Hub."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        yield from SYNTHETIC


def labels(loader: Any) -> list[list[int]]:
    return [batch.tolist() for _, batch in loader]


def test_every_batch_is_half_real_and_half_synthetic() -> None:
    batches = labels(synthkit.mix(REAL, SYNTHETIC, batch_size=32))
    assert [len(batch) for batch in batches] == [32] * 6 + [14]
    for batch in batches:
        half = len(batch) // 2
        assert all(label < 10 for label in batch[:half])
        assert all(label >= 1000 for label in batch[half:])


# A share of real images: how many of both kinds each batch of eight has, and how they stand beside a stream.
SHARED = [
    (0.0, [(0, 8)] * 12 + [(0, 7)], "SSSSSSSS"),
    (0.25, [(2, 6)] * 17 + [(1, 1)], "RSSSRSSS"),
    (0.5, [(4, 4)] * 25 + [(3, 3)], "RSRSRSRS"),
    (0.7, [(6, 2)] * 51 + [(3, 1)], "RRRSRRRS"),
]


@pytest.mark.parametrize(("share", "kinds", "spread"), SHARED)
def test_another_share_of_real_images(share: float, kinds: list[tuple[int, int]], spread: str) -> None:
    def shape(batch: list[int]) -> str:
        return "".join("R" if label < 10 else "S" for label in batch)

    for synthetic, first in ((SYNTHETIC, "".join(sorted(spread))), (Stream(), spread)):
        loader = synthkit.mix(REAL, synthetic, batch_size=8, real_share=share)
        batches = labels(loader)
        assert [(shape(batch).count("R"), shape(batch).count("S")) for batch in batches] == kinds
        assert {shape(batch) for batch in batches[:-1]} == {first}
        seen = sorted(label for batch in batches for label in batch if label >= 1000)
        assert seen == list(range(1000, 1103))


def test_batches_of_a_stream_that_are_half_real_are_those_of_every_earlier_version() -> None:
    loader = synthkit.mix(REAL, iter(SYNTHETIC[:7]), batch_size=4, seed=3)
    assert labels(loader) == [[6, 1000, 0, 1001], [2, 1002, 1, 1003], [5, 1004, 2, 1005], [4, 1006]]


def in_classes(*counts: int) -> Pairs:
    """Images in three classes, in turns while they last; each holds its own number."""
    order = sorted((place, label) for label, count in enumerate(counts) for place in range(count))
    return [(torch.full((1,), float(number)), label) for number, (_, label) in enumerate(order)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [list, iter, "datasets"])
def test_the_first_synthetic_images_of_each_class(kind: Any, workers: int) -> None:
    rows = in_classes(9, 2, 5)
    synthetic: Any = (
        kind(rows)
        if kind != "datasets"
        else Dataset.from_dict(
            {"image": [int(image) for image, _ in rows], "label": [label for _, label in rows]}
        )
    )
    loader = synthkit.mix(
        *([(torch.zeros(1), 7)], synthetic),
        **{"batch_size": 4, "synthetic_per_class": 3, "num_workers": workers, "transform": float},
    )
    seen = [
        (int(number), label)
        for images, numbers in loader
        for number, label in zip(images.tolist(), numbers.tolist(), strict=True)
        if label != 7
    ]
    wanted = [(number, label) for number, (_, label) in enumerate(rows[:8])]
    assert sorted(seen) == wanted  # three of the first class, both of the second, three of the third


def test_a_stream_that_workers_could_share_is_read_whole_for_its_first_images(
    flat_release: Path,
) -> None:
    shards = sorted(map(str, (flat_release / "data").iterdir()))
    stream = webdataset.WebDataset(shards, shardshuffle=False)
    loader = synthkit.mix(
        *([(Image.new("RGB", (32, 32)), 0)], stream),
        **{"batch_size": 8, "real_share": 0.0, "synthetic_per_class": 2, "num_workers": 2},
        transform=to_tensor,
    )
    seen = [label for batch in labels(loader) for label in batch]
    counts = [item.synthetic for item in read_manifest(flat_release).classes]
    assert np.bincount(seen, minlength=10).tolist() == [min(count, 2) for count in counts]


def test_images_come_with_their_labels() -> None:
    for images, numbers in synthkit.mix(REAL, SYNTHETIC, batch_size=32):
        assert images[:, 0].tolist() == numbers.tolist()


def test_an_epoch_is_one_pass_over_the_synthetic_images_in_a_new_order() -> None:
    loader = synthkit.mix(REAL, SYNTHETIC, batch_size=32)
    epochs = [[label for batch in labels(loader) for label in batch if label >= 1000] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(1000, 1103))
    assert epochs[0] != epochs[1]
    assert len(loader) == 7


def test_real_images_are_drawn_with_replacement() -> None:
    drawn = [label for batch in labels(synthkit.mix(REAL, SYNTHETIC, batch_size=32)) for label in batch]
    counts = np.bincount([label for label in drawn if label < 10], minlength=10)
    assert counts.sum() == 103
    assert counts.min() > 0 and counts.max() > counts.min()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_batches(workers: int) -> None:
    def two_epochs(seed: int) -> list[list[list[int]]]:
        loader = synthkit.mix(REAL, SYNTHETIC, batch_size=32, seed=seed, num_workers=workers)
        return [labels(loader), labels(loader)]

    assert two_epochs(3) == two_epochs(3)
    assert two_epochs(3) != two_epochs(4)
    if workers:
        alone = synthkit.mix(REAL, SYNTHETIC, batch_size=32, seed=3)
        assert two_epochs(3)[0] == labels(alone)


def test_the_last_smaller_batch_can_be_left_out() -> None:
    loader = synthkit.mix(REAL, SYNTHETIC, batch_size=32, drop_last=True)
    assert [len(batch) for batch in labels(loader)] == [32] * 6
    assert len(loader) == 6


@pytest.mark.parametrize("keyword", ["shuffle", "sampler", "batch_sampler"])
def test_what_mix_decides_itself(keyword: str) -> None:
    with pytest.raises(ValueError, match=f"{keyword}: is decided by mix"):
        synthkit.mix(REAL, SYNTHETIC, batch_size=32, **{keyword: True})


def test_workers_share_a_stream() -> None:
    loader = synthkit.mix(REAL, Stream(), batch_size=8, num_workers=2)
    seen = sorted(label for batch in labels(loader) for label in batch if label >= 1000)
    assert seen == list(range(1000, 1103))


def test_workers_that_stay_draw_other_real_images_in_the_next_epoch() -> None:
    loader = synthkit.mix(REAL, Stream(), batch_size=32, num_workers=1, persistent_workers=True)
    assert labels(loader) != labels(loader)


def test_a_stream_that_is_over() -> None:
    with pytest.raises(ValueError, match="the stream holds no image"):
        labels(synthkit.mix(REAL, iter(()), batch_size=8))


def test_a_stream_is_half_of_every_batch_too() -> None:
    loader = synthkit.mix(REAL, Stream(), batch_size=32)
    batches = labels(loader)
    assert all(sum(label < 10 for label in batch) == len(batch) // 2 for batch in batches)
    assert [label for batch in batches for label in batch if label >= 1000] == list(range(1000, 1103))
    assert labels(loader) != batches  # other real images in the next epoch


@pytest.mark.parametrize("streaming", [False, True])
def test_a_release_with_its_real_images(flat_release: Path, tmp_path: Path, streaming: bool) -> None:
    real = synthkit.real(str(flat_release))
    synthetic: Any = load_dataset(
        str(flat_release), split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    loader = synthkit.mix(real, synthetic, batch_size=16, transform=to_tensor)
    seen = [(images.shape, numbers) for images, numbers in loader]
    assert seen[0][0] == (16, 3, 32, 32)
    assert sum(len(numbers) for _, numbers in seen) == 2 * 76
    image, label = real[0]
    assert image.size == (32, 32)
    assert real.classes[label] == "zero"


def test_shards_read_by_webdataset(flat_release: Path) -> None:
    shards = sorted(map(str, (flat_release / "data").iterdir()))
    synthetic = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("png", "cls")
    real = [(Image.new("RGB", (32, 32)), 0)]
    images, _ = next(iter(synthkit.mix(real, synthetic, batch_size=8, transform=to_tensor)))
    assert images.shape == (8, 3, 32, 32)
    assert images[0::2].max() == 0 and images[1::2].max() > 0


def test_importing_the_package_does_not_load_torch() -> None:
    code = "import sys, synthkit; sys.exit('torch' in sys.modules or 'mix' not in synthkit.__all__)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Named(list[Any]):
    """A data set that names its classes, as torchvision's do."""

    def __init__(self, rows: Pairs, classes: list[str]) -> None:
        super().__init__(rows)
        self.classes = classes


@pytest.mark.parametrize(
    ("real", "synthetic", "batch_size", "words"),
    [
        (REAL, SYNTHETIC, 31, "must be even"),
        (REAL, SYNTHETIC, 0, "must be even"),
        ([], SYNTHETIC, 32, "real: holds no image"),
        (REAL, [], 32, "synthetic: holds no image"),
        (REAL, "lab/digits@v1.0.0", 32, "synthetic: is a name, not a data set"),
        (Stream(), SYNTHETIC, 32, "real: is a stream"),
        (Named(REAL, ["a", "b"]), Named(SYNTHETIC, ["b", "a"]), 32, "label 0 is 'a' in real and 'b'"),
        (Named(REAL, ["a", "b"]), Named(SYNTHETIC, ["a"]), 32, "real has 2 classes, synthetic 1"),
    ],
)
def test_what_cannot_be_mixed(real: Any, synthetic: Any, batch_size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        synthkit.mix(real, synthetic, batch_size=batch_size)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"real_share": 1}, "real_share: is 1; .* below 1: real images alone need no mix, give them to a"),
        ({"real_share": -0.1}, "real_share: is -0.1; it must be at least 0 and below 1"),
        ({"real_share": float("nan")}, "real_share: is nan; it must be at least 0"),
        ({"real_share": 0.3, "batch_size": 1}, "batch_size: is 1; it must hold an image of each kind"),
        ({"synthetic_per_class": 0}, "synthetic_per_class: is 0; it must be at least 1"),
        (
            {"synthetic_per_class": 10},
            "is 10, but there are 9 images of a class at most",
        ),
    ],
)
def test_mixtures_that_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        synthkit.mix(REAL, in_classes(9, 2, 5), **{"batch_size": 4, **arguments})


def test_two_classes_of_one_name_are_numbered_in_the_card() -> None:
    real = Named(REAL, ["crane", "heron", "crane"])
    assert synthkit.mix(real, Named(SYNTHETIC, ["crane", "heron", "crane (2)"]), batch_size=4)


def test_rows_that_hold_no_image_or_label() -> None:
    with pytest.raises(ValueError, match="a row has picture, number: it needs one of png"):
        next(iter(synthkit.mix([{"picture": 1, "number": 2}], SYNTHETIC, batch_size=2)))


def test_images_without_a_transform() -> None:
    with pytest.raises(ValueError, match="transform: is needed"):
        next(iter(synthkit.mix([(Image.new("L", (8, 8)), 0)], SYNTHETIC, batch_size=2)))


def test_a_label_that_no_class_has() -> None:
    with pytest.raises(ValueError, match=r"a row has label 1\d+; there are 2 classes"):
        labels(synthkit.mix(REAL[:2], Named(SYNTHETIC, ["a", "b"]), batch_size=2))


@pytest.mark.parametrize(
    ("image", "words"), [(b"png", "still encoded"), (torch.zeros(3, 8, 8), "does not take a Tensor")]
)
def test_images_that_the_transform_cannot_take(image: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        labels(synthkit.mix([(image, 0)], [(image, 0)], batch_size=2, transform=to_tensor))


def test_grey_images_become_rgb() -> None:
    grey = [(Image.new("L", (8, 8), 128), 0)]
    images, _ = next(iter(synthkit.mix(grey, grey, batch_size=2, transform=to_tensor)))
    assert images.shape == (2, 3, 8, 8)


def test_real_images_that_are_not_here(tmp_path: Path, flat_release: Path) -> None:
    with pytest.raises(ReleaseError, match="there is no such folder"):
        synthkit.real(str(tmp_path / "none"))
    with pytest.raises((SourceError, ReleaseError)):
        synthkit.real(str(flat_release), root="nowhere")


def test_real_images_of_a_folder_wherever_it_lies(cli: Cli) -> None:
    folder = cli.folder / "a #1" / "null😀"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), (9, 99, 9)).save(folder / name / "1.png")
    text = "name: greens\nsource: {kind: folder, root: images}\ntarget_per_class: 2\n"
    text += "model: {id: 'builtin:flat-colours'}\nsampler: {steps: 1, batch_size: 2}\n"
    (cli.folder / "greens.yaml").write_text(text)
    assert cli("build", "greens.yaml", "--set", f'source.root="{folder}"').exit_code == 0
    real = synthkit.real(str(cli.folder / "releases" / "greens"), root=folder)
    assert real.classes == ["one", "two"]
    assert real[1] == (Image.new("RGB", (40, 40), (9, 99, 9)), 1)
