"""How a minibatch is divided between real and synthetic images, and which images each one holds."""

from __future__ import annotations

import pytest

from synthkit.release.loader_batches import MixedBatches, Shares


@pytest.mark.parametrize(
    ("size", "real", "shares"),
    [
        (64, 0.5, (32, 32)),
        (64, 0.3, (19, 45)),  # 19.2
        (10, 0.25, (3, 7)),  # a half up: 2.5
        (64, 0.001, (1, 63)),  # at least one of each kind
        (64, 0.999, (63, 1)),
        (2, 0.9, (1, 1)),
        (64, 0.0, (0, 64)),
    ],
)
def test_a_share_is_rounded_to_whole_images(size: int, real: float, shares: tuple[int, int]) -> None:
    found = Shares.of(size, real)
    assert (found.real, found.synthetic) == shares


def test_batches_that_are_half_real_are_those_of_every_earlier_version() -> None:
    half = MixedBatches(5, 7, Shares.of(4, 0.5), 3)
    assert list(half.batches(0)) == [[1, 3, 9, 6], [4, 1, 10, 11], [4, 0, 5, 7], [1, 8]]
    assert list(half.batches(1)) == [[0, 1, 11, 5], [1, 1, 6, 10], [0, 0, 8, 7], [1, 9]]


@pytest.mark.parametrize(("real", "whole", "last"), [(0.3, (19, 45), (5, 10)), (0.0, (0, 64), (0, 36))])
def test_every_batch_has_the_share_and_an_epoch_every_synthetic_image_once(
    real: float, whole: tuple[int, int], last: tuple[int, int]
) -> None:
    order = MixedBatches(1000, 100, Shares.of(64, real), 0)
    batches = list(order.batches(0))
    kinds = [(sum(i < 1000 for i in batch), sum(i >= 1000 for i in batch)) for batch in batches]
    assert kinds == [*[whole] * (len(kinds) - 1), last]  # 4.2 real ones beside 10, rounded up
    assert len(kinds) == len(order)
    assert sorted(i for batch in batches for i in batch if i >= 1000) == list(range(1000, 1100))
    whole_ones = MixedBatches(1000, 100, Shares.of(64, real), 0, drop_last=True)
    assert list(whole_ones.batches(0)) == batches[:-1]
    assert len(whole_ones) == len(kinds) - 1
