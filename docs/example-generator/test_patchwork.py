"""The family passes the conformance suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthkit.conformance.builds import BUILDS, BuildCase
from synthkit.conformance.case import Case
from synthkit.conformance.generators import CHECKS
from synthkit.generators.checkpoint import locate
from synthkit.recipe.load import load

RECIPE = f"""\
name: patches
source: {{kind: digits, max_per_class: 4}}
prompt: ""
synthetic_per_class: 2
conditioning: {{method: embed-cutmix-dropout}}
model: {{id: {Path(__file__).parent / "model"}}}
sampler: {{batch_size: 4}}
output: {{shard_size: 10}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(RECIPE)
    return load(path)


@pytest.fixture(scope="module")
def case(recipe):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return Case(locate(recipe.model), recipe, [Image.fromarray(image) for image in pixels])


@pytest.fixture(scope="module")
def build_case(recipe, tmp_path_factory):
    return BuildCase(recipe, tmp_path_factory.mktemp("builds"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_generator(check, case):
    check(case)


@pytest.mark.parametrize("check", BUILDS, ids=lambda check: check.__name__)
def test_builds(check, build_case):
    check(build_case)
