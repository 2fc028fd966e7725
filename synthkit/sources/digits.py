"""The 1,797 handwritten digits bundled with scikit-learn, in fixed and disjoint parts.

Data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), UCI Machine
Learning Repository, CC BY 4.0; scikit-learn bundles its test set: 8x8 pixels, 17 grey levels.

The division depends on nothing but the pixels. Within each class the images stand in the order of
the SHA-256 of their 64 pixels (exact duplicates kept once, over all classes and parts), and then

* the first 30 are the `test` part (balanced, 300 images),
* the next 60 are the training pool, of which `train` takes a long tail of
  `round(max_per_class * imbalance_factor ** (-c / 9))` for class c (the exponential profile of
  Cui et al. 2019 for long-tailed CIFAR), so 57 zeros down to 5 nines by default,
* the last 20 of that pool are the `validation` part (balanced, 200 images), for choosing settings with
  a tail of at most 40 a class; with a longer one the two share images, which every leak check finds,
* the rest is `pretrain`, the only part that the embedded model has seen.

Two parts more hold images of these, for few-shot: `unseen` is `test` and the training pool (balanced, 900
images), and `all` is every image. Whoever takes some of them scores with the others (`all_but_shots`).
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from synthkit.sources.base import Listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthkit.recipe.families import DigitsSourceConfig

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_PER_CLASS = 30
TRAIN_POOL_PER_CLASS = 60
VALIDATION_PER_CLASS = 20
SIZE = 32
DigitsPart = Literal["pretrain", "train", "validation", "test", "unseen", "all"]


class DigitsSource:
    """One part of the digits: RGB images of 32x32 pixels, with ids `digits/0123` in scikit-learn's order."""

    notes: tuple[str, ...] = ()

    def __init__(self, part: DigitsPart, *, max_per_class: int = 57, imbalance_factor: float = 11.4) -> None:
        self._rows = _rows(part, max_per_class, imbalance_factor)
        labels = _bundle()[1][self._rows]
        self.listing = Listing(CLASSES, tuple(f"digits/{row:04d}" for row in self._rows), labels)

    def stamp(self, index: int) -> str:
        """Return the id: a digit never changes."""
        return self.listing.ids[index]

    def read(self, index: int) -> bytes:
        """Return the 64 pixels, each a byte from 0 to 16."""
        return bytes(_bundle()[0][self._rows[index]].tobytes())

    def decode(self, index: int, content: bytes) -> Image.Image:
        """Return the RGB image of 32x32 pixels."""
        eight = np.frombuffer(content, dtype=np.uint8).reshape(8, 8)
        grey = Image.fromarray(np.rint(eight * (255 / 16)).astype(np.uint8))
        return grey.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB")


def open_digits(config: DigitsSourceConfig) -> DigitsSource:
    """Open the part of the digits that a recipe names."""
    return DigitsSource(
        config.part, max_per_class=config.max_per_class, imbalance_factor=config.imbalance_factor
    )


def paths_read(config: DigitsSourceConfig) -> list[Path]:
    """Return nothing: the digits come with scikit-learn."""
    return []


def long_tail_counts(max_per_class: int, imbalance_factor: float) -> list[int]:
    """Return the number of images of each of the ten classes in the training part: an exponential profile."""
    last = len(CLASSES) - 1
    return [max(1, round(max_per_class * imbalance_factor ** (-c / last))) for c in range(len(CLASSES))]


@cache
def _bundle() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    file = _bundled_file()
    if file is None:
        return _by_scikit_learn()
    # A row is the 64 pixels of an image, then its label.
    rows = np.loadtxt(file, dtype=np.uint8, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8).copy(), rows[:, -1].astype(np.int32)


def _bundled_file() -> Path | None:
    """Return the file of digits in scikit-learn, whose own loader imports all of scipy; None if it moved."""
    spec = find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(next(iter(folders or ()), ""), "datasets", "data", "digits.csv.gz")
    return path if path.is_file() else None


def _by_scikit_learn() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the same by scikit-learn's loader."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.int32)


def _rows(part: DigitsPart, max_per_class: int, imbalance_factor: float) -> list[int]:
    counts = long_tail_counts(max_per_class, imbalance_factor)
    start_of_rest = TEST_PER_CLASS + TRAIN_POOL_PER_CLASS
    rows: list[int] = []
    for label, ordered in enumerate(_ordered_by_content()):
        span = {
            "test": slice(0, TEST_PER_CLASS),
            "train": slice(TEST_PER_CLASS, TEST_PER_CLASS + counts[label]),
            "validation": slice(start_of_rest - VALIDATION_PER_CLASS, start_of_rest),
            "pretrain": slice(start_of_rest, None),
            "unseen": slice(0, start_of_rest),
            "all": slice(None),
        }[part]
        rows.extend(ordered[span])
    return rows


@cache
def _ordered_by_content() -> list[list[int]]:
    pixels, labels = _bundle()
    first_row_of: dict[str, int] = {}
    for row, eight in enumerate(pixels):
        first_row_of.setdefault(_sha256(eight), row)
    classes: list[list[int]] = [[] for _ in CLASSES]
    for digest in sorted(first_row_of):
        row = first_row_of[digest]
        classes[int(labels[row])].append(row)
    return classes


def _sha256(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()
