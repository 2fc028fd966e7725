"""Every family of generators passes every check, on a model in miniature."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkit.conformance import generators
from synthkit.conformance.case import Case, ConformanceError
from synthkit.conformance.generators import CHECKS
from synthkit.generators.checkpoint import locate
from synthkit.generators.families import PIPELINES
from synthkit.recipe.model import Encoder, Model
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe
from tests.helpers import adapters, miniature_flux
from tests.helpers.families import ROUND
from tests.helpers.generating import recipe_of
from tests.helpers.paths import ROOT

SAMPLER = Sampler(scheduler="ddim", steps=2, guidance_scale=2.0, batch_size=4)
IP_ADAPTERS = {
    "StableDiffusionPipeline.ip-adapter": adapters.SD15,
    "StableDiffusionPipeline.ip-adapter-plus": adapters.SD15_PLUS,
    "StableDiffusionXLPipeline.ip-adapter": adapters.SDXL,
    "StableDiffusionXLPipeline.ip-adapter-plus": adapters.SDXL_PLUS,
}


def unclip(fixture: Callable[[str], Path]) -> Recipe:
    return recipe_of(SAMPLER)


def kandinsky(fixture: Callable[[str], Path]) -> Recipe:
    model = Model(id=str(fixture("decoder")), encoder=Encoder(id=str(fixture("prior"))))
    return recipe_of(SAMPLER, prompt="").model_copy(update={"model": model})


def flux(fixture: Callable[[str], Path]) -> Recipe:
    model = Model(id=str(fixture("schnell")), encoder=Encoder(id=str(fixture("redux"))))
    sampler = {"scheduler": "flow-euler", "guidance_scale": 1.0, "size": miniature_flux.SMALL}
    return recipe_of(SAMPLER.model_copy(update=sampler)).model_copy(update={"model": model})


OTHERS: dict[str, Callable[[Callable[[str], Path]], Recipe]] = {
    "StableUnCLIPImg2ImgPipeline": unclip,
    "KandinskyV22Pipeline": kandinsky,
    "FluxPipeline": flux,
}


# The other of two adapters for one base.
SLOW = ("StableDiffusionPipeline.ip-adapter", "StableDiffusionXLPipeline.ip-adapter-plus")
PARAMS = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in (*IP_ADAPTERS, *OTHERS)
]


@pytest.fixture(scope="module", params=PARAMS)
def case(request: pytest.FixtureRequest) -> Case:
    name: str = request.param
    if name in IP_ADAPTERS:
        bases = [request.getfixturevalue(fixture) for fixture in ("sd15", "sdxl", "ip_adapters")]
        sampler = SAMPLER.model_copy(update={"size": ROUND if "XL" in name else None})
        recipe = adapters.Family(IP_ADAPTERS[name], *bases).recipe(sampler)
    else:
        recipe = OTHERS[name](request.getfixturevalue)
    return Case(locate(recipe.model), recipe, adapters.photos(4))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_family_conforms(case: Case, check: Any) -> None:
    check(case)


def test_the_docs_have_every_check() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/generators.md").read_text(), re.MULTILINE)
    assert [check.__name__ for check in CHECKS] == [name for name in rows if hasattr(generators, name)]


def test_no_family_is_left_out() -> None:
    # No model is behind flat colours, and no prompt changes them.
    assert {*IP_ADAPTERS, *OTHERS} == PIPELINES.keys() - {"FlatColours"}


def test_a_case_needs_neighbours() -> None:
    recipe = recipe_of(SAMPLER.model_copy(update={"batch_size": 2}))
    with pytest.raises(ConformanceError, match="a batch of 3 images or more"):
        Case(locate(recipe.model), recipe, adapters.photos(4))
