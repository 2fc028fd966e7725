"""`sampler.batch_size: auto`: how many images fit a device, by arithmetic and by trying."""

from __future__ import annotations

import pytest

from synthkit.errors import GeneratorError
from synthkit.generators import batch_size
from synthkit.generators.checkpoint import locate
from synthkit.generators.device_memory import fitting, halved_until
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from tests.helpers.generating import load_on_cpu, recipe_of

AUTO = Sampler.model_validate({"batch_size": "auto"})


def test_a_generator_is_not_loaded_without_a_number() -> None:
    checkpoint = locate(Model(id="builtin:tiny-unclip-digits"))
    with pytest.raises(
        GeneratorError, match=r"sampler.batch_size: auto is measured by a build; set a number"
    ):
        load_on_cpu(checkpoint, AUTO)


def test_on_a_cpu_nothing_is_measured() -> None:
    checkpoint = locate(Model(id="builtin:tiny-unclip-digits"))
    assert batch_size.choose_batch_size(checkpoint, recipe_of(AUTO), "cpu") == 16


@pytest.mark.parametrize(("total", "size"), [(1000, 32), (60, 16), (46, 16), (42, 8), (7, 1)])
def test_the_size_that_fits_by_arithmetic(total: int, size: int) -> None:
    """Of batches of one and two, the peaks are 6 and 8 bytes; 85 % of the device's bytes are used."""
    assert fitting(6, 8, total) == size


def test_the_size_that_fits_by_trying() -> None:
    tried: list[int] = []
    assert halved_until(16, lambda size: tried.append(size) or size <= 4) == 4  # type: ignore[func-returns-value]
    assert tried == [16, 8, 4]
    assert halved_until(2, lambda size: False) == 1
