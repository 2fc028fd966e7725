"""The bundled digits and their parts."""

from __future__ import annotations

import itertools
from hashlib import sha256

import numpy as np
import pytest
from pydantic import ValidationError

from synthkit.sources import digits
from synthkit.sources.base import load_image
from synthkit.sources.digits import DigitsSource, long_tail_counts
from tests.helpers.opening import config, opened

PARTS = ("unseen", "pretrain", "all")


def hashes(source: DigitsSource) -> list[str]:
    return [sha256(source.read(index)).hexdigest() for index in range(len(source.listing))]


def test_the_parts_share_no_image_and_hold_no_duplicate() -> None:
    parts = [
        DigitsSource(part, max_per_class=60, imbalance_factor=1) for part in ("pretrain", "train", "test")
    ]
    found = [digest for part in parts for digest in hashes(part)]
    assert len(found) == 1797
    assert len(set(found)) == 1797


def test_they_are_those_that_scikit_learn_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    assert digits._bundled_file() is not None, "every command waits for all of scipy"
    for gone in (False, True):
        if gone:
            monkeypatch.setattr(digits, "_bundled_file", lambda: None)
        pixels, labels = digits._bundle.__wrapped__()
        assert (pixels.dtype, labels.dtype) == (np.uint8, np.int32)
        assert (pixels == theirs.images).all()
        assert (labels == theirs.target).all()


def test_the_sizes_of_the_parts() -> None:
    def counts(source: DigitsSource) -> list[int]:
        return np.bincount(source.listing.labels).tolist()

    assert counts(DigitsSource("pretrain")) == [88, 92, 87, 93, 91, 92, 91, 89, 84, 90]
    assert counts(DigitsSource("test")) == [30] * 10
    assert counts(DigitsSource("train")) == [57, 43, 33, 25, 19, 15, 11, 9, 7, 5]


def test_what_the_digits_model_has_not_seen_is_one_part_without_a_tail() -> None:
    unseen, seen, every = (set(opened(kind="digits", part=part).listing.ids) for part in PARTS)
    assert unseen | seen == every
    assert not unseen & seen
    assert (len(unseen), len(every)) == (900, 1797)
    test = set(opened(kind="digits", part="test").listing.ids)
    train = set(opened(kind="digits", part="train", max_per_class=60, imbalance_factor=1.0).listing.ids)
    assert test | train == unseen
    few = opened(kind="digits", part="unseen", long_tail={"imbalance_factor": 10.0, "max_per_class": 90})
    assert np.bincount(few.listing.labels)[[0, 9]].tolist() == [90, 9]
    for part in ("unseen", "all"):
        with pytest.raises(ValidationError, match=f"max_per_class is of the long tail .* part: {part} with"):
            config(kind="digits", part=part, max_per_class=20)


def test_the_long_tail_is_an_exponential_profile() -> None:
    counts = long_tail_counts(60, 30.0)
    assert counts[0] == 60
    assert counts[-1] == 2
    ratios = [a / b for a, b in itertools.pairwise(counts)]
    assert ratios[:4] == pytest.approx([30 ** (1 / 9)] * 4, rel=0.04)
    assert long_tail_counts(5, 100)[-1] == 1


def test_a_smaller_tail_is_a_part_of_the_larger_one() -> None:
    large, small = (DigitsSource("train", max_per_class=size, imbalance_factor=4) for size in (40, 10))
    assert set(small.listing.ids) < set(large.listing.ids)


def test_an_image_is_rgb_32_and_its_hash_is_of_its_pixels() -> None:
    source = DigitsSource("train")
    image, digest = load_image(source, 0), sha256(source.read(0)).hexdigest()
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert source.listing.ids[0].startswith("digits/")
    assert digest != sha256(source.read(1)).hexdigest()
    assert np.asarray(image).max() > 200
