"""Every way of sampling that a family shares passes every check, on the embedded model."""

from __future__ import annotations

from typing import Any

import pytest

from synthkit.conformance.case import Case
from synthkit.conformance.generators import CHECKS
from synthkit.generators.checkpoint import locate
from synthkit.recipe.sampler import Sampler
from tests.helpers import adapters
from tests.helpers.generating import recipe_of

WAYS: dict[str, dict[str, Any]] = {
    "unipc": {"scheduler": "unipc"},
    "lcm": {"scheduler": "lcm"},
}


@pytest.fixture(scope="module", params=[pytest.param("unipc", marks=pytest.mark.slow), "lcm"])
def case(request: pytest.FixtureRequest) -> Case:
    way = {"scheduler": "ddim", "steps": 3, "guidance_scale": 2.0, "batch_size": 4} | WAYS[request.param]
    recipe = recipe_of(Sampler.model_validate(way))
    return Case(locate(recipe.model), recipe, adapters.photos(4))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_way_conforms(case: Case, check: Any) -> None:
    check(case)
