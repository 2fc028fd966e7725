"""What is planned: balance, seeds, pairs, order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthkit.errors import SourceError
from synthkit.levels import Levels
from synthkit.recipe.load import load
from synthkit.recipe.schema import Recipe
from synthkit.release.plan import Plan, balance, balance_of, block_counts, make_plan, numbers_in_class
from synthkit.sources.base import Listing
from tests.conftest import SMALL


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(SMALL)
    return load(path)


def with_target(recipe: Recipe, target: int) -> Recipe:
    return recipe.model_copy(update={"target_per_class": target})


def listing(*counts: int) -> Listing:
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    names = tuple(f"class {label}" for label in range(len(counts)))
    return Listing(names, tuple(f"{i}.png" for i in range(len(labels))), labels)


def rows_of(plan: Plan, label: int) -> set[tuple[int, tuple[int, ...]]]:
    rows = [plan.row(index) for index in range(len(plan))]
    return {(row.seed, row.sources) for row in rows if row.label == label}


def test_every_class_is_filled_to_the_target(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 10), listing(3, 9, 10, 25))
    assert np.bincount(plan.labels, minlength=4).tolist() == [7, 1, 0, 0]


def test_the_groups_follow_the_thresholds(recipe: Recipe) -> None:
    groups = [item.group for item in balance(with_target(recipe, 99), listing(3, 4, 6, 7))]
    assert groups == ["few", "medium", "medium", "many"]


def test_pairs_are_two_different_images_of_the_class(recipe: Recipe) -> None:
    real = listing(5, 2, 1)
    plan = make_plan(with_target(recipe, 400), real)
    for index in range(len(plan)):
        row = plan.row(index)
        assert [real.labels[position] for position in row.sources] == [row.label, row.label]
        assert (row.sources[0] != row.sources[1]) == (row.label != 2)


def test_pairs_are_drawn_uniformly(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 20_005), listing(5))
    counts = np.zeros((5, 5))
    np.add.at(counts, tuple(plan.pairs.T), 1)
    assert np.diag(counts).sum() == 0
    off = counts[~np.eye(5, dtype=bool)]
    assert off.min() > 850
    assert off.max() < 1150


def test_seeds_are_63_bits_and_all_different(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 5000), listing(3, 9))
    assert len(np.unique(plan.seeds)) == len(plan)
    assert plan.seeds.max() < 2**63
    assert plan.seeds.max() > 2**62


def test_a_larger_target_adds_images_and_changes_none(recipe: Recipe) -> None:
    real = listing(3, 9)
    small, large = (make_plan(with_target(recipe, target), real) for target in (20, 50))
    for label in (0, 1):
        assert rows_of(small, label) < rows_of(large, label)


def test_the_first_images_of_each_class_are_those_of_a_smaller_release(recipe: Recipe) -> None:
    real = listing(3, 9, 1)

    def first(count: int, **asked: object) -> list[tuple[int, int]]:
        """Class and seed of the first images of each class, in the order of the classes."""
        whole = recipe.model_copy(update={"target_per_class": None, **asked})
        plan = make_plan(whole, real)
        numbers = numbers_in_class(whole.seed, block_counts(whole, balance(whole, real)))
        chosen = np.flatnonzero(numbers < count)
        rows = zip(plan.labels, numbers, plan.seeds, strict=True)
        found = sorted((int(label), int(number), int(seed)) for label, number, seed in rows)
        assert [(label, number) for label, number, _ in found if number < count] == [
            (label, number) for label in range(3) for number in range(count)
        ]
        assert len(chosen) == 3 * count
        return [(label, seed) for label, number, seed in found if number < count]

    small = first(5, synthetic_per_class=5)
    assert first(5, synthetic_per_class=20) == first(5, synthetic_per_class=20, grown=[4, 9]) == small


def test_another_seed_is_another_plan(recipe: Recipe) -> None:
    real = listing(3, 9)
    first = make_plan(recipe, real)
    other = make_plan(recipe.model_copy(update={"seed": 8}), real)
    assert not set(first.seeds.tolist()) & set(other.seeds.tolist())


def test_classes_are_mixed_within_a_shard(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 100), listing(5, 5, 5, 5))
    assert len({plan.row(index).label for index in plan.indices(0)}) == 4


def test_shards_cover_every_row_once(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 40), listing(3, 9))
    indices = [index for shard in range(plan.shards) for index in plan.indices(shard)]
    assert indices == list(range(len(plan)))
    assert sum(plan.images_in(shard) for shard in range(plan.shards)) == len(plan) == 68


def test_a_preview_is_the_beginning_of_the_plan(recipe: Recipe) -> None:
    plan = make_plan(recipe, listing(3, 9))
    assert [plan.first(5).row(i) for i in range(5)] == [plan.row(i) for i in range(5)]


def test_methods_take_as_many_sources_as_they_say(recipe: Recipe) -> None:
    for method, count in (("text-only", 0), ("dropout", 1), ("mixup", 2)):
        changed = recipe.conditioning.model_copy(update={"method": method})
        plan = make_plan(recipe.model_copy(update={"conditioning": changed}), listing(3))
        assert len(plan.row(0).sources) == count


def test_with_levels_real_images_come_once_at_each_before_any_comes_again(recipe: Recipe) -> None:
    levels = recipe.conditioning.model_copy(update={"scale": Levels((0.2, 0.4, 0.8))})
    asked = {"target_per_class": None, "synthetic_per_class": 40, "conditioning": levels}
    whole, sizes = recipe.model_copy(update=asked), (1, 2, 6, 7, 12)
    real = listing(*sizes)
    plan = make_plan(whole, real)
    numbers = numbers_in_class(whole.seed, block_counts(whole, balance(whole, real)))
    planned = {(int(plan.labels[n]), int(numbers[n])): plan.row(n) for n in range(len(plan))}
    for label, size in enumerate(sizes):
        rows = [planned[label, number] for number in range(40)]
        assert [row.level for row in rows] == [number % 3 for number in range(40)]
        rounds = [{row.sources for row in rows[start : start + 3]} for start in range(0, 40, 3)]
        pairs = [pair for (pair,) in rounds]
        firsts = [first for first, _ in pairs]
        assert len(set(firsts[:size])) == size
        assert all(first == firsts[turn % size] for turn, first in enumerate(firsts))
        assert all((first != second) == (size > 1) for first, second in pairs)
    assert len(np.unique(plan.seeds)) == 200
    assert plan.first(9).row(8) == plan.row(8)


def test_what_cannot_be_planned(recipe: Recipe) -> None:
    with pytest.raises(SourceError, match="no real image of class class 1: every class needs"):
        make_plan(recipe, listing(3, 0, 2))
    with pytest.raises(SourceError, match="nothing to make"):
        make_plan(with_target(recipe, 3), listing(3, 4))
    with pytest.raises(SourceError, match="no classes"):
        make_plan(recipe, listing())


def test_golden_rows(recipe: Recipe) -> None:
    """Any change here changes every image that anyone has made."""
    plan = make_plan(recipe, listing(3, 9))
    assert [(row.label, row.sources, row.seed) for row in map(plan.row, range(3))] == [
        (0, (2, 0), 7092803007619996460),
        (0, (2, 0), 8043457917274619346),
        (0, (0, 1), 2733416331874947529),
    ]


def test_a_plan_of_a_million_images_is_columns(recipe: Recipe) -> None:
    plan = make_plan(with_target(recipe, 1000), listing(*[100] * 1000))
    assert len(plan) == 900_000
    assert sum(column.nbytes for column in (plan.labels, plan.seeds, plan.pairs)) == 20 * 900_000


def test_a_plan_of_more_versions_and_classes_than_memory_holds_is_refused(recipe: Recipe) -> None:
    grown = recipe.model_copy(update={"target_per_class": 2000, "grown": list(range(1, 1001))})
    names = [f"class {label}" for label in range(40_000)]
    with pytest.raises(SourceError, match="1,001 versions of 40,000 classes are more than"):
        block_counts(grown, balance_of(grown, names, [1] * len(names)))
