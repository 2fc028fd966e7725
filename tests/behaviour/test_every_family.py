"""Every family of generators, by every method that it takes: releases built, stopped, checked, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthkit.conformance.builds import BUILDS, BuildCase, replayed, resumed, shared, verified
from synthkit.recipe.load import load
from tests.helpers.families import FAMILIES, Models, methods_of, write_recipe

# Each family by one method, another one each; all their pairs take minutes. Other tests build with unCLIP.
OF_EACH = dict(
    zip(
        FAMILIES,
        [
            "embed-cutmix-dropout",
            "embed-mixup-dropout",
            "embed-cutmix-dropout",
            "cutmix-dropout",
            "text-only",
            "embed-cutmix",
            "mixup",
        ],
        strict=True,
    )
)
# The other of two adapters for one base; what many other tests build with; and what is near to unCLIP.
SLOW_FAMILIES = ("unclip", "ip-adapter-sd15", "ip-adapter-plus-sd15", "ip-adapter-plus-sdxl", "kandinsky")


def is_slow(family: str, method: str) -> bool:
    return OF_EACH[family] != method or family in SLOW_FAMILIES


PAIRS = [
    pytest.param(family, method, marks=[pytest.mark.slow] if is_slow(family, method) else [])
    for family in FAMILIES
    for method in methods_of(family)
]


@pytest.mark.parametrize(("family", "method"), PAIRS)
def test_a_release_is_whole_goes_on_and_is_made_again(
    models: Models, tmp_path: Path, family: str, method: str
) -> None:
    recipe = load(write_recipe(tmp_path / "recipe.yaml", models, family, method))
    case = BuildCase(recipe, tmp_path, device="cpu")
    for check in (verified, resumed, replayed):
        check(case)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_two_workers_make_what_one_makes(models: Models, tmp_path: Path, family: str) -> None:
    recipe = load(write_recipe(tmp_path / "recipe.yaml", models, family, OF_EACH[family]))
    shared(BuildCase(recipe, tmp_path, device="cpu"))


def test_the_checks_of_builds_are_all_used() -> None:
    assert set(BUILDS) == {verified, shared, resumed, replayed}


@pytest.mark.slow
def test_compiled_code_of_an_adapter_makes_nearly_the_same(models: Models, tmp_path: Path) -> None:
    """Hooks weigh the adapter's values; compiled code must see other weights of the next batch.

    With guidance at one of two steps there are two numbers of rows, so it is compiled twice.
    """
    import numpy as np

    from synthkit.generators import load as load_generator
    from synthkit.generators.checkpoint import locate

    path = write_recipe(tmp_path / "recipe.yaml", models, "ip-adapter-sd15", "embed-mixup")
    recipe = load(path, ["sampler.guidance_interval=[0.0, 0.3]", "sampler.feedback=null"])
    checkpoint = locate(recipe.model)
    made: list[Any] = []
    for compiled in (False, True):
        arithmetic = recipe.arithmetic.model_copy(update={"compile": compiled})
        generator = load_generator(checkpoint, recipe.model_copy(update={"arithmetic": arithmetic}), "cpu")
        rows = np.random.default_rng(0).normal(size=(3, *generator.embedding_shape)).astype(np.float32)
        made += [
            generator.generate(rows, ["zero", "one", "two"], [1, 2, 3], weights).astype(int)
            for weights in ([0.1, 1.0, 0.5], [1.0, 0.2, 0.9])
        ]
    assert np.abs(made[0] - made[2]).max() <= 2
    assert np.abs(made[1] - made[3]).max() <= 2
    assert (made[0] != made[1]).any()
