"""What a recipe's images cost: by the last build's rate, or by their operations."""

from __future__ import annotations

from typing import Any

import pytest

from synthkit.builder.estimate import Estimate
from synthkit.builder.sampling_cost import SamplingCost, sampling_cost
from synthkit.generators.operations import network_of, operations_of
from synthkit.levels import Amount, Choices, Levels
from synthkit.recipe.filters import Filters
from synthkit.recipe.load import load
from synthkit.recipe.sampler import Cache
from synthkit.recipe.schema import Recipe
from tests.helpers.paths import ROOT

UNKNOWN = Estimate(None, None, measured=False, checkpoint=None)


def cost_of(
    name: str, estimate: Estimate = UNKNOWN, price: float | None = None, **sampler: Any
) -> SamplingCost:
    return sampling_cost(recipe(name, **sampler), 1_000_000, estimate, price)


def recipe(name: str, **sampler: Any) -> Recipe:
    found = load(ROOT / "recipes" / f"{name}.yaml")
    return found.model_copy(update={"sampler": found.sampler.model_copy(update=sampler)})


def words(found: SamplingCost) -> list[str]:
    return [" ".join(one.changes) for one in found.cheaper]


def test_operations_tell_time_and_dollars_of_one_device() -> None:
    cost = cost_of("imagenet_lt_ecd").cost
    assert cost is not None
    assert cost.computed
    assert cost.operations == pytest.approx(139.0, abs=0.05)
    assert cost.seconds == pytest.approx(1e6 * 139.0 / 400, rel=1e-3)
    assert cost.dollars == pytest.approx(1e6 * 139.0 / 400 / 3600 * 3.0, rel=1e-3)


def test_eight_gpus_cost_eight_times_their_time() -> None:
    measured = Estimate(None, 3600.0, measured=True, checkpoint=None, devices=8, on_gpu=True)
    cost = cost_of("imagenet_lt_ecd", measured, price=2.0).cost
    assert cost is not None
    assert (cost.seconds, cost.dollars, cost.computed) == (8 * 3600.0, 16.0, False)


def test_a_cpu_has_no_price_of_its_own() -> None:
    measured = Estimate(None, 3600.0, measured=True, checkpoint=None)
    free, priced = (cost_of("digits_lt_ecd", measured, price).cost for price in (None, 0.5))
    assert free is not None
    assert (free.seconds, free.dollars) == (3600.0, None)
    assert priced is not None
    assert priced.dollars == 0.5


def test_every_draw_costs() -> None:
    one = recipe("imagenet_lt_ecd")
    filters = Filters.model_validate({"prefer": {"draws": 4}})
    costs = [
        sampling_cost(each, 1000, UNKNOWN).cost for each in (one, one.model_copy(update={"filters": filters}))
    ]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[1].operations == 4 * costs[0].operations
    assert costs[1].dollars == pytest.approx(4 * (costs[0].dollars or 0))


@pytest.mark.parametrize(
    ("strength", "evaluations", "share"),
    [
        (0.5, 16, 0.52),
        (1.0, 31, 1.0),
        ((0.2, 0.8), 25, 0.52),
        (Choices((0.25, 0.75)), 23, 0.52),
        (Levels((0.75, 0.25)), 23, 0.52),
    ],
)
def test_images_that_begin_from_real_ones_run_a_part_of_the_steps(
    strength: Amount, evaluations: int, share: float
) -> None:
    one = recipe("imagenet_lt_ecd")
    begun = one.conditioning.model_copy(update={"method": "real-guidance", "strength": strength})
    found = sampling_cost(one.model_copy(update={"conditioning": begun}), 1000, UNKNOWN)
    assert found.cost is not None
    assert found.work.evaluations == evaluations
    assert found.differs is not isinstance(strength, float)
    assert found.cost.operations == pytest.approx(share * 139.0, rel=0.05)


def test_a_strength_that_leaves_no_step_takes_no_evaluation() -> None:
    """A build refuses it; so may a plan, and must not fail."""
    one = recipe("digits_lt_real_guidance")
    for strength in (0.02, (0.01, 0.5)):
        begun = one.conditioning.model_copy(update={"strength": strength})
        found = sampling_cost(one.model_copy(update={"conditioning": begun}), 1000, UNKNOWN)
        assert found.cost is not None
        assert found.work.evaluations == (0 if strength == 0.02 else 13)


def test_cheaper_ways_are_those_that_the_model_has() -> None:
    unclip = words(cost_of("imagenet_lt_ecd"))
    assert "sampler.scheduler=dpm-solver++ sampler.steps=15" in unclip
    assert "sampler.size=512" in unclip
    assert "sampler.cache.every=2" in unclip
    # Made for 512 pixels, and for four steps of its own scheduler without guidance.
    assert not any("size" in one for one in words(cost_of("imagenet_lt_ecd_sd15")))
    assert words(cost_of("imagenet_lt_ecd_sdxl_lightning")) == ["sampler.cache.every=2"]


def test_each_cheaper_way_costs_less_and_none_is_told_twice() -> None:
    for steps in (4, 12, 30):
        found = cost_of("imagenet_lt_ecd", scheduler="dpm-solver++", steps=steps)
        assert found.cost is not None
        assert len(set(words(found))) == len(found.cheaper)
        for one in found.cheaper:
            assert one.cost.operations < 0.95 * found.cost.operations


def test_a_cache_that_the_network_cannot_have_saves_nothing() -> None:
    """A build refuses it; so may a plan, and must not fail."""
    for name, levels in (("digits_lt_ecd", 2), ("imagenet_lt_ecd", 16)):
        with_cache, without = (cost_of(name, cache=cache) for cache in (Cache(every=2, levels=levels), None))
        assert with_cache.cost is not None
        assert without.cost is not None
        assert with_cache.cost.operations == pytest.approx(without.cost.operations)


def test_images_that_are_retrieved_take_no_operations() -> None:
    one = load(ROOT / "recipes" / "digits_lt_retrieval.yaml")
    assert operations_of(one, network_of(one.model)) == 0


def test_nothing_is_told_of_a_network_that_is_not_known() -> None:
    other = recipe("imagenet_lt_ecd")
    model = other.model.model_copy(update={"id": "somebody/something"})
    found = sampling_cost(other.model_copy(update={"model": model}), 1000, UNKNOWN)
    assert (found.work.evaluations, found.work.rows, found.cost, found.cheaper) == (31, 62, None, ())


def test_what_a_recipe_already_saves_is_not_undone() -> None:
    few = words(cost_of("imagenet_lt_ecd", scheduler="dpm-solver++", steps=5))
    assert "sampler.size=512" in few
    assert not [one for one in few if "sampler.steps" in one]
    # Its cache of 500 is cheaper than one of 2.
    cached = words(cost_of("imagenet_lt_ecd", cache=Cache(every=500)))
    assert "sampler.scheduler=dpm-solver++ sampler.steps=10" in cached
    assert not [one for one in cached if "sampler.cache" in one]
