"""The prompt of a draw: a function of its seed alone, each template as often as any other."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synthkit.errors import RecipeError
from synthkit.recipe.schema import Recipe
from synthkit.release.plan import make_plan
from synthkit.release.prompts import Prompts, prompt_facts
from synthkit.release.seeds import Stream, attempt_seed, raw_number, stream
from synthkit.sources.base import Listing
from tests.conftest import SMALL

CLASSES = ("cat", "sea_dog")
LISTS = {"cat": ["a {name}", "{caption}", "one more {name}"], "sea_dog": ["{name}"]}
CAPTIONS = {"cat/1": "on a mat", "cat/2": "in a hat"}


def recipe(prompts: Any, **fields: Any) -> Recipe:
    captions = {"captions": {"file": "c.csv", "sha256": "a" * 64}} if "{caption}" in str(prompts) else {}
    data = yaml.safe_load(SMALL) | {"prompts": prompts} | captions | fields
    return Recipe.model_validate(data)


@given(seed=st.integers(0, 2**63 - 1), templates=st.integers(1, 50))
def test_the_seed_alone_decides(seed: int, templates: int) -> None:
    lists = [f"{number} {{name}}" for number in range(templates)]
    first, other = Prompts(recipe(lists), CLASSES), Prompts(recipe({"x": lists, "cat": lists}), ("x", "cat"))
    drawn = first.of(0, seed, None)
    assert drawn == other.of(1, seed, "any") == first.of(0, seed, "any other")
    assert drawn.split()[0] == first.of(1, seed, None).split()[0]
    assert first.fault(drawn, 0, seed, None) == ""
    assert (first.fault(f"{drawn}!", 0, seed, None) == "") is False


def test_a_draw_stays_what_it_was() -> None:
    """If this fails, releases with prompts cannot be made again: raise FORMAT_VERSION on purpose only."""
    prompts = Prompts(recipe([f"{number}" for number in range(7)]), CLASSES)
    assert "".join(prompts.of(0, seed, None) for seed in (*range(12), 2**63 - 1)) == "2304632656416"


@given(seed=st.integers(0, 2**63 - 1), which=st.sampled_from(Stream), number=st.integers(1, 100))
def test_a_number_of_a_stream_is_that_of_its_generator(seed: int, which: Stream, number: int) -> None:
    assert raw_number(seed, which, number) == int(stream(seed, which).bit_generator.random_raw(number)[-1])


@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_templates_are_drawn_equally_often(count: int) -> None:
    prompts = Prompts(recipe([f"{number}" for number in range(count)]), CLASSES)
    seeds = np.random.default_rng(count).integers(0, 2**63, 6000)
    drawn = Counter(prompts.of(0, int(seed), None) for seed in seeds)
    expected = len(seeds) / count
    # Chi-squared of count - 1 degrees: its mean, and five standard deviations more.
    squared = sum((drawn[str(number)] - expected) ** 2 / expected for number in range(count))
    assert squared < count - 1 + 5 * np.sqrt(2 * (count - 1))


def test_which_prompt_is_drawn_has_to_do_with_nothing_else_that_is() -> None:
    """Not with the mixing, the dropout, the next draw or the seed itself."""
    prompts = Prompts(recipe([f"{number}" for number in range(2)]), CLASSES)
    seeds = [int(seed) for seed in np.random.default_rng(3).integers(0, 2**63, 4000)]
    drawn = np.array([int(prompts.of(0, seed, None)) for seed in seeds])
    for other in (
        [stream(seed, Stream.MIX).random() for seed in seeds],
        [stream(seed, Stream.DROP).random() for seed in seeds],
        [int(prompts.of(0, attempt_seed(seed, 1), None)) for seed in seeds],
        [seed % 2 for seed in seeds],
    ):
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 5 / np.sqrt(len(seeds))


def test_a_caption_is_that_of_the_first_real_image() -> None:
    prompts = Prompts(recipe(LISTS), CLASSES, CAPTIONS)
    drawn = {prompts.of(0, seed, "cat/2") for seed in range(50)}
    assert drawn == {"a cat", "in a hat", "one more cat"}
    assert {prompts.of(1, seed, "dog/1") for seed in range(5)} == {"sea dog"}
    assert prompts.captioned() == [True, False]
    assert prompts.caption("cat/1") == "on a mat"


def test_without_captions_any_caption_will_do() -> None:
    here, away = Prompts(recipe(LISTS), CLASSES, CAPTIONS), Prompts(recipe(LISTS), CLASSES)
    seed = next(seed for seed in range(50) if here.of(0, seed, "cat/1") == "on a mat")
    assert (here.knows(0, seed, "cat/1"), away.knows(0, seed, "cat/1")) == (True, False)
    assert here.fault("in a hat", 0, seed, "cat/1") == "by the recipe it is 'on a mat'"
    assert away.fault("in a hat", 0, seed, "cat/1") == ""
    assert away.fault("\x1b[31m", 0, seed, "cat/1") == "by the recipe it is '…' with a caption"
    assert away.fault("", 0, seed, "cat/1") == "by the recipe it is '…' with a caption"
    plain = next(seed for seed in range(50) if here.of(0, seed, "cat/1") == "a cat")
    assert away.fault("on a mat", 0, plain, "cat/1") == "by the recipe it is 'a cat'"


def test_prompts_are_for_the_classes() -> None:
    with pytest.raises(RecipeError, match="prompts: no prompts for class cow"):
        Prompts(recipe(LISTS), (*CLASSES, "cow"))
    with pytest.raises(RecipeError, match="prompts: there is no class 'sea_dog'"):
        Prompts(recipe(LISTS), ("cat",))


def test_the_prompts_of_a_plan_are_yielded_once_and_completely(tmp_path: Path) -> None:
    listing = Listing(CLASSES, ("cat/1", "cat/2", "dog/1"), np.array([0, 0, 1], dtype=np.int32))
    given_recipe = recipe(LISTS, target_per_class=40)
    prompts, plan = Prompts(given_recipe, CLASSES, CAPTIONS), make_plan(given_recipe, listing)
    rows = [plan.row(index) for index in range(len(plan))]
    wanted = {
        prompts.of(row.label, attempt_seed(row.seed, attempt), listing.ids[row.sources[0]])
        for row in rows
        for attempt in range(3)
    }
    drawn = list(prompts.drawn(plan, listing, 3))
    assert wanted == set(drawn) == {"a cat", "one more cat", "sea dog", *CAPTIONS.values()}
    assert len(drawn) == 5


def test_a_stranger_cannot_have_each_template_filled_in_for_each_class() -> None:
    many = recipe([f"{{name}} {number}" for number in range(20_000)])
    start = time.process_time()
    prompts = Prompts(many, [f"class {number}" for number in range(20_000)])
    assert prompts.of(19_999, 1, None).startswith("class 19999 ")
    assert time.process_time() - start < 5


def test_the_manifest_says_how_many() -> None:
    assert prompt_facts(recipe(None), CLASSES) is None
    facts = prompt_facts(recipe(LISTS), CLASSES)
    assert facts is not None
    assert (facts.fewest, facts.most, facts.captions) == (1, 3, "a" * 64)
