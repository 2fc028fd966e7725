"""`sampler.guidance_interval`: guidance at some steps, and the conditional half alone at the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe
from synthkit.generators.checkpoint import locate
from synthkit.generators.guidance_interval import runs_in
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Cads, Sampler
from tests.helpers.adapters import SD15, SDXL_PLUS, Family, photos
from tests.helpers.families import ROUND
from tests.helpers.generating import load_on_cpu
from tests.helpers.miniature_models import consistent

# Timesteps 751, 501, 251 and 1 of 1000.
SAMPLER = Sampler(scheduler="ddim", steps=4, guidance_scale=3.0, batch_size=2)
PROMPTS, SEEDS = ["zero", "one"], [1, 2]


class Made:
    """A generator, and what it makes by other samplers of the same two rows."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator
        self.embeddings = generator.embed_images(photos(2))

    def images(self, **update: Any) -> tuple[np.ndarray, list[int]]:
        """Return images, and on how many rows each step evaluated the network's first layer."""
        rows: list[int] = []
        other = self.generator.resampled(self.generator.sampler.model_copy(update=update))
        hook = self.generator.denoiser.conv_in.register_forward_hook(
            lambda layer, given, made: rows.append(len(made))
        )
        try:
            return other.generate(self.embeddings, PROMPTS, SEEDS), rows
        finally:
            hook.remove()


@pytest.fixture(scope="module", params=["embedded", "adapter"])
def made(request: pytest.FixtureRequest) -> Made:
    """The embedded model, whose image is class labels; and the adapter with the most that has rows."""
    if request.param == "embedded":
        return Made(load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER))
    bases: list[Path] = [request.getfixturevalue(name) for name in ("sd15", "sdxl", "ip_adapters")]
    return Made(Family(SDXL_PLUS, *bases).load(SAMPLER.model_copy(update={"size": ROUND}), scale=0.7))


@pytest.mark.parametrize(
    ("interval", "rows"),
    [((0.0, 1.0), [4, 4, 4, 4]), ((0.4, 0.4), [2, 2, 2, 2]), ((0.2, 0.6), [2, 4, 4, 2])],
)
def test_steps_outside_of_the_interval_evaluate_half_of_the_rows(
    made: Made, interval: Any, rows: Sequence[int]
) -> None:
    images, evaluated = made.images(guidance_interval=interval)
    assert evaluated == rows
    whole, none = (made.images(**update)[0] for update in ({}, {"guidance_scale": 1.0}))
    assert (images == whole).all() == (rows == [4] * 4)
    assert (images == none).all() == (rows == [2] * 4)


def test_the_next_sampler_has_no_interval(made: Made) -> None:
    before = made.images()[0]
    made.images(guidance_interval=(0.2, 0.6))
    assert (made.images()[0] == before).all()


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ((0.2, 0.6), [0.201, 0.6], [0.0, 0.2, 0.601, 1.0]),
        ((0.0, 0.5), [0.0, 0.5], [0.501]),
        ((0.0, 1.0), [0.0, 1.0], []),
        ((0.0, 0.0), [], [0.0, 0.5]),
        ((1.0, 1.0), [], [0.999, 1.0]),
    ],
)
def test_where_guidance_runs(interval: Any, inside: list[float], outside: list[float]) -> None:
    assert all(runs_in(interval, share) for share in inside)
    assert not any(runs_in(interval, share) for share in outside)


@pytest.mark.parametrize(
    ("field", "value"), [("guidance_interval", (0.2, 0.6)), ("cads", Cads(tau1=0.2, tau2=0.6, scale=0.5))]
)
def test_a_model_that_reads_the_scale_of_guidance(
    field: str, value: Any, sd15: Path, sdxl: Path, ip_adapters: Path, tmp_path: Path
) -> None:
    family = Family(SD15, consistent(sd15, tmp_path / "lcm"), sdxl, ip_adapters)
    check_recipe(family.checkpoint, family.recipe(SAMPLER))
    with pytest.raises(GeneratorError) as caught:
        check_recipe(family.checkpoint, family.recipe(SAMPLER.model_copy(update={field: value})))
    assert str(caught.value) == (
        f"sampler.{field}: this model reads the scale of guidance and is evaluated once; remove it"
    )
