"""Which images make the pool: classes, halves, long tails, shots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from synthkit.sources import held_out, open_source
from tests.helpers import miniatures
from tests.helpers.opening import by_class, config, opened, refused


@pytest.fixture(scope="module")
def caltech(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(miniatures.caltech101(tmp_path_factory.mktemp("caltech"), per_class=3))


def test_a_half_is_half_of_each_class_and_the_other_is_the_rest(caltech: str, tmp_path: Path) -> None:
    root = miniatures.caltech101(tmp_path, per_class=7)
    settings = {"kind": "folder", "root": str(root)}
    training = config(**settings, halve={"seed": 3})
    first, second = open_source(training), open_source(held_out(training))
    assert np.bincount(first.listing.labels).tolist() == [4] * 5
    assert np.bincount(second.listing.labels).tolist() == [3] * 5
    assert set(first.listing.ids) | set(second.listing.ids) == set(opened(**settings).listing.ids)
    other = opened(**settings, halve={"seed": 4})
    assert set(other.listing.ids) != set(first.listing.ids)
    for name, image in ((first.listing.ids[5], first.read(5)), (second.listing.ids[5], second.read(5))):
        assert (root / name).read_bytes() == image


def test_a_half_can_be_checked_with_sha256sum(caltech: str) -> None:
    import hashlib

    training = opened(kind="folder", root=caltech, halve={"seed": 9})
    for ids in by_class(opened(kind="folder", root=caltech)).values():
        ordered = sorted(ids, key=lambda name: hashlib.sha256(f"halve/9/{name}".encode()).hexdigest())
        assert set(ordered[:2]) == set(training.listing.ids) & set(ids)


@pytest.mark.parametrize("per_class", [7, 8])
def test_an_image_more_moves_at_most_one_other(tmp_path: Path, per_class: int) -> None:
    root = miniatures.caltech101(tmp_path, per_class=per_class)
    settings = {"kind": "folder", "root": str(root), "halve": {"seed": 0}}
    before = opened(**settings).listing.ids
    for number in range(20):
        path = root / f"Faces/new_{number}.jpg"
        miniatures.photo(path, number)
        after = set(opened(**settings).listing.ids)
        assert len(set(before) - after) <= 1
        path.unlink()


def test_more_shots_contain_fewer_and_trials_differ(tmp_path: Path) -> None:
    settings = {
        "kind": "folder",
        "root": str(miniatures.caltech101(tmp_path, per_class=12)),
        "halve": {"seed": 0},
    }
    pools = {k: set(opened(**settings, shots=k).listing.ids) for k in (1, 2, 4)}
    assert [len(pool) for pool in pools.values()] == [5, 10, 20]
    assert pools[1] < pools[2] < pools[4] < set(opened(**settings).listing.ids)
    trials = [frozenset(opened(**settings, shots=2, trial=t).listing.ids) for t in range(4)]
    assert len(set(trials)) == 4


def test_what_scores_the_shots_of_a_data_set_without_another_part_is_all_else(tmp_path: Path) -> None:
    root = miniatures.caltech101(tmp_path, per_class=5)
    settings = {"kind": "folder", "root": str(root), "exclude": ["Faces/image_0001.jpg"]}
    every = set(opened(**settings).listing.ids)
    for shots, trial in ((1, 0), (1, 1), (3, 2)):
        few = config(**settings, shots=shots, trial=trial)
        pool, scoring = open_source(few), open_source(held_out(few))
        assert np.bincount(pool.listing.labels).tolist() == [shots] * 5
        assert set(scoring.listing.ids) == every - set(pool.listing.ids)
        assert scoring.listing.classes == pool.listing.classes
    # What a score leaves out, too, changes no shot, and brings nothing back that the recipe leaves out.
    left = scoring.listing.ids[0]
    fewer = held_out(few, {"exclude": [left], "limit_per_class": 1, "on_error": "skip"})
    assert np.bincount(open_source(fewer).listing.labels).tolist() == [1] * 5
    assert set(open_source(held_out(few, {"exclude": [left]})).listing.ids) == set(scoring.listing.ids) - {
        left
    }
    with refused("source.all_but_shots: leaves no image"):
        open_source(held_out(config(kind="folder", root=str(root), shots=5)))


def test_all_but_shots_needs_the_shots_and_all_images(caltech: str) -> None:
    for fields, told in (
        ({}, "give shots too, or remove it"),
        ({"shots": 1, "long_tail": {"imbalance_factor": 2.0}}, "remove long_tail, or all_but_shots"),
    ):
        with pytest.raises(ValidationError, match=told):
            config(kind="folder", root=caltech, all_but_shots=True, **fields)


def test_too_few_images_for_shots_a_half_or_a_tail(caltech: str, tmp_path: Path) -> None:
    with refused(
        "source.shots: 5 of 5 classes have fewer than 4 images: BACKGROUND_Google (3)", "lower shots"
    ):
        opened(kind="folder", root=caltech, shots=4)
    miniatures.photo(tmp_path / "cat/1.jpg", 1)
    with refused("source.halve: cat: one image cannot be halved"):
        opened(kind="folder", root=str(tmp_path), halve={"seed": 0})
    with refused("source.long_tail: too few images: BACKGROUND_Google has 3 of 9", "lower max_per_class"):
        opened(kind="folder", root=caltech, long_tail={"imbalance_factor": 2.0, "max_per_class": 9})


@pytest.mark.parametrize(
    ("classes", "most", "factor", "total"),
    # CIFAR-10-LT and CIFAR-100-LT as counted in the literature (Cui et al. 2019; Cao et al. 2019).
    [(10, 5000, 100, 12_406), (10, 5000, 10, 20_431), (10, 5000, 200, 11_203), (100, 500, 100, 10_847)],
)
def test_the_long_tail_is_that_of_cifar_lt(classes: int, most: int, factor: float, total: int) -> None:
    from synthkit.sources.selection import long_tail_counts

    counts = long_tail_counts(classes, most, factor)
    assert sum(counts) == total
    assert (counts[0], counts[-1]) == (most, most // factor)


def test_a_long_tail_and_a_limit(tmp_path: Path) -> None:
    settings = {"kind": "folder", "root": str(miniatures.caltech101(tmp_path, per_class=8))}
    tail = opened(**settings, long_tail={"imbalance_factor": 4.0})
    assert np.bincount(tail.listing.labels).tolist() == [8, 5, 4, 2, 2]
    both = opened(**settings, long_tail={"imbalance_factor": 4.0}, limit_per_class=4)
    assert np.bincount(both.listing.labels).tolist() == [4, 4, 4, 2, 2]
    assert set(both.listing.ids) <= set(tail.listing.ids)


@pytest.mark.parametrize(("most", "factor", "last"), [(700, 7, 100), (57, 57, 1), (300, 3, 100)])
def test_the_tail_ends_where_it_should(most: int, factor: float, last: int) -> None:
    from synthkit.sources.selection import long_tail_counts

    assert long_tail_counts(2, most, factor) == [most, last]


def test_nothing_left_is_told(caltech: str) -> None:
    every = {
        "BACKGROUND_Google": None,
        "Faces": None,
        "Faces_easy": None,
        "accordion": None,
        "car_side": None,
    }
    for tail in ({}, {"long_tail": {"imbalance_factor": 2.0}}, {"exclude": ["x"]}):
        with refused("source.classes: leaves no image"):
            opened(kind="folder", root=caltech, classes=every, **tail)


def test_links_that_go_round_are_followed_once(tmp_path: Path) -> None:
    miniatures.photo(tmp_path / "root/cat/1.jpg", 1)
    miniatures.photo(tmp_path / "elsewhere/2.jpg", 2)
    (tmp_path / "root/cat/round").symlink_to(tmp_path / "root/cat")
    (tmp_path / "root/cat/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/dog").symlink_to(tmp_path / "elsewhere")
    assert by_class(opened(kind="folder", root=str(tmp_path / "root"))) == {
        "cat": ["cat/1.jpg", "cat/more/2.jpg"],
        "dog": ["dog/2.jpg"],
    }


def test_images_left_out_by_id(caltech: str) -> None:
    source = opened(kind="folder", root=caltech, exclude=["Faces/image_0002.jpg"])
    assert by_class(source)["Faces"] == ["Faces/image_0001.jpg", "Faces/image_0003.jpg"]
    with refused("source.exclude: there is no image nobody.jpg; ids look like BACKGROUND_Google/"):
        opened(kind="folder", root=caltech, exclude=["nobody.jpg"])
