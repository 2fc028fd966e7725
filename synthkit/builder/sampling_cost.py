"""What sampling the images of a recipe costs, and what cheaper ways to sample would cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from synthkit.config.section import Section
from synthkit.errors import GeneratorError
from synthkit.generators import check_settings
from synthkit.generators.operations import learning_of, network_of, operations_of, work_of
from synthkit.levels import spread_strengths
from synthkit.recipe.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from synthkit.builder.estimate import Estimate
    from synthkit.generators.operations import Network, Work
    from synthkit.recipe.schema import Recipe

# TFLOP a second that an H200 reached with Stable unCLIP 2.1, compiled (bench/README.md).
RATE = 400.0
# Dollars for an hour of it.
PRICE = 3.0
# What makes images for less, in the order in which docs/scaling.md says to try it. A way is told if the
# recipe's model has it, and if it costs less than the recipe.
_FAST = {"scheduler": "dpm-solver++", "steps": 10}
_CACHE = {"cache": {"every": 2}}
_CHEAPER: tuple[dict[str, Any], ...] = (
    {**_FAST, "steps": 15},
    _FAST,
    {"size": 512},
    _CACHE,
    {"guidance_interval": (0.2, 0.7)},
    {**_FAST, **_CACHE},
    {**_FAST, "size": 512},
    {**_FAST, **_CACHE, "size": 512},
)
# Less is no saving that could be felt.
_WORTH_IT = 0.95
# Of a model's own edge: at half of it, models make parts of things.
_SMALLEST = 0.6
_OF_FEW_STEPS = ("euler-trailing", "lcm")
# TFLOP of an image; networks that take fewer are too small to reach the rate.
_LARGE = 1.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What images cost: TFLOP of one with all its draws, and seconds and dollars of one device for all.

    Both are None if unknown. `computed` says that the seconds follow from the operations and RATE, and no
    build gave them.
    """

    operations: float
    seconds: float | None
    dollars: float | None
    computed: bool

    def times(self, share: float) -> Cost:
        """Return a share of it."""
        seconds, dollars = (None if part is None else share * part for part in (self.seconds, self.dollars))
        return Cost(share * self.operations, seconds, dollars, self.computed)

    def to_json(self) -> dict[str, Any]:
        """Return its numbers for other programs."""
        return {
            "tflop_per_image": round(self.operations, 6),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "dollars": None if self.dollars is None else round(self.dollars, 2),
            "computed": self.computed,
        }


@dataclass(frozen=True, slots=True)
class Cheaper:
    """Another way to sample the same images: the words of `--set`, and its cost."""

    changes: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class SamplingCost:
    """What sampling takes: the work of one draw, its cost if the network is known, and cheaper ways.

    If images take different numbers of steps (`differs`), the work is the most that one takes, and the cost
    the mean. `learning` is the TFLOP of learning tokens; None without tokens, or if it is not known.
    """

    work: Work
    cost: Cost | None
    differs: bool = False
    learning: float | None = None
    cheaper: tuple[Cheaper, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return its numbers for other programs."""
        return {
            "evaluations": self.work.evaluations,
            "rows": self.work.rows,
            **({} if self.cost is None else self.cost.to_json()),
            **({} if self.learning is None else {"learning_tflop": round(self.learning, 6)}),
            "cheaper": [{"set": list(one.changes), **one.cost.to_json()} for one in self.cheaper],
        }


def sampling_cost(
    recipe: Recipe, images: int, estimate: Estimate, price: float | None = None, *, classes: int = 0
) -> SamplingCost:
    """Return what sampling so many images costs, at a price in dollars for an hour of one device.

    Without a price, an hour of a GPU has PRICE, and that of a CPU none. `classes` is the number of classes
    that images are made of.
    """
    network = network_of(recipe.model, estimate.checkpoint)
    strengths = spread_strengths(recipe.conditioning.strength)
    work, differs = work_of(recipe.sampler, network, max(strengths)), len(strengths) > 1
    operations = operations_of(recipe, network)
    if network is None or operations is None:
        return SamplingCost(work, None, differs)
    cost = _cost(images, operations, estimate, price)
    learning = learning_of(recipe, network, classes) if recipe.tokens else None
    return SamplingCost(work, cost, differs, learning, tuple(_cheaper(recipe, network, cost)))


def _cost(images: int, operations: float, estimate: Estimate, price: float | None) -> Cost:
    if estimate.seconds is None:
        if operations < _LARGE:
            return Cost(operations, None, None, computed=False)
        seconds, on_gpu, computed = images * operations / RATE, True, True
    else:
        seconds, on_gpu, computed = estimate.seconds * estimate.devices, estimate.on_gpu, False
    if price is None and on_gpu:
        price = PRICE
    return Cost(operations, seconds, None if price is None else seconds / 3600 * price, computed)


def _cheaper(recipe: Recipe, network: Network, cost: Cost) -> Iterator[Cheaper]:
    for changes in _CHEAPER:
        changed = _changed(recipe, changes) if _suits(changes, recipe.sampler, network) else None
        if changed is None or not _has(network, changed):
            continue
        share = (operations_of(changed, network) or 0.0) / cost.operations
        if share < _WORTH_IT:
            yield Cheaper(_words(recipe.sampler, changed.sampler), cost.times(share))


def _suits(changes: Mapping[str, Any], sampler: Sampler, network: Network) -> bool:
    """Return whether changes make sense.

    They are no other steps for a model of few, no images far below its edge, and undo nothing that a recipe
    already saves: they make neither more steps nor another cache of one.
    """
    if "scheduler" in changes and sampler.scheduler in _OF_FEW_STEPS:
        return False
    if changes.get("steps", 0) > sampler.steps:
        return False
    if "cache" in changes and sampler.cache is not None and sampler.cache.every > changes["cache"]["every"]:
        return False
    size = changes.get("size")
    return size is None or _SMALLEST * network.edge <= size < (sampler.size or network.edge)


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe | None:
    """Return a recipe with another sampler; None if its fields exclude each other, or images are enlarged."""
    if recipe.output.size is not None and recipe.output.size > changes.get("size", recipe.output.size):
        return None
    try:
        sampler = Sampler.model_validate({**recipe.sampler.model_dump(), **changes})
    except ValidationError:
        return None
    return recipe.model_copy(update={"sampler": sampler})


def _has(network: Network, recipe: Recipe) -> bool:
    """Return whether the family of a network has what a recipe asks for."""
    if recipe.sampler.guidance_interval is not None and not network.halves:
        return False
    try:
        check_settings({"_class_name": network.pipeline}, recipe, recipe.model.id)
    except GeneratorError:
        return False
    return True


def _words(before: Sampler, after: Sampler) -> tuple[str, ...]:
    """Return the words of `--set` that make one sampler of another."""
    changed = [name for name in Sampler.model_fields if getattr(before, name) != getattr(after, name)]
    return tuple(word for name in changed for word in _of(f"sampler.{name}", getattr(after, name)))


def _of(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Section):
        for inner, one in value.model_dump(exclude_defaults=True).items():
            yield from _of(f"{name}.{inner}", one)
    else:
        told = json.dumps(value, separators=(",", ":")) if isinstance(value, tuple) else value
        yield f"{name}={value:g}" if isinstance(value, float) else f"{name}={told}"
