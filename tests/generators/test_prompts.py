"""What a model makes of prompts is kept within a number of bytes, and no image depends on what was kept."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthkit.errors import GeneratorError
from synthkit.generators import diffusers_pipeline
from synthkit.generators.base import check_without_text
from synthkit.generators.checkpoint import locate
from synthkit.generators.prompt_cache import PromptCache
from synthkit.recipe.captions import Captions
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from tests.conftest import Cli
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(steps=1, guidance_scale=2.0, batch_size=4)
RECIPE = """\
name: small
source: {kind: digits, max_per_class: 2}
synthetic_per_class: 1
sampler: {steps: 1, guidance_scale: 2.0, batch_size: 4}
model: {id: "builtin:tiny-unclip-digits"}
"""


@pytest.fixture(scope="module")
def generator() -> Any:
    return load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER)


def test_the_least_recently_used_goes_first() -> None:
    encoded: list[str] = []

    def encode(prompt: str) -> Any:
        encoded.append(prompt)
        # Four bytes and eight, as of two text encoders.
        return torch.zeros(1), torch.zeros(2)

    cache = PromptCache(encode, 3 * 12)
    for prompt in ("a", "b", "c", "a", "d", "a", "c"):
        cache[prompt]
    assert (encoded, len(cache)) == (["a", "b", "c", "d"], 3)
    cache["b"]
    assert (encoded[-1], len(cache)) == ("b", 3)
    cache["d"]
    assert encoded[-1] == "d"


def test_one_encoding_is_kept_however_large_it_is() -> None:
    cache = PromptCache(lambda prompt: torch.zeros(100), 1)
    assert (cache["a"] is cache["a"], len(cache)) == (True, 1)
    assert (len(cache["b"]), len(cache)) == (100, 1)


def test_prompts_without_end_are_checked_and_none_is_kept(generator: Any) -> None:
    """Some at a time: the first that is too long ends it."""
    generator.check_prompts(f"a digit, photo {number % 50}" for number in range(3_000))
    assert len(generator._prompts) == 0
    long = "zero " * 40
    endless = itertools.chain(("one",) * 2_500, (long,), itertools.repeat("two"))
    with pytest.raises(GeneratorError, match=r"prompt: 'zero zero .* has \d+ tokens, the model reads 32; "):
        generator.check_prompts(endless)


def test_images_do_not_depend_on_how_many_prompts_are_kept(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = np.random.default_rng(0).standard_normal((4, 128), np.float32)
    prompts, seeds = ["zero", "one", "two", "three"], [1, 2, 3, 4]
    plenty = generator.generate(embeddings, prompts, seeds)
    assert len(generator._prompts) == 5
    monkeypatch.setattr(diffusers_pipeline, "PROMPT_BYTES", 1)
    forgetful = load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER)
    np.testing.assert_array_equal(forgetful.generate(embeddings, prompts, seeds), plenty)
    assert len(forgetful._prompts) == 1


def test_a_build_with_more_prompts_than_are_kept_makes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = Cli(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    shards = []
    for folder, kept in (("plenty", 1 << 30), ("little", 1)):
        monkeypatch.setattr(diffusers_pipeline, "PROMPT_BYTES", kept)
        result = cli("build", "recipe.yaml", "--workers", "1", "--out", folder)
        assert result.exit_code == 0, result.output
        shards.append([path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.tar"))])
    assert shards[0] == shards[1]
    assert shards[0]


def test_a_model_that_reads_no_text_takes_no_prompts() -> None:
    recipe = recipe_of(SAMPLER)
    drawn = recipe.model_copy(update={"prompts": ["a", "b"]})
    captioned = recipe.model_copy(update={"prompt": "", "captions": Captions(file="captions.csv")})
    for field, given in (("prompts", drawn), ("captions", captioned)):
        with pytest.raises(GeneratorError, match=f"^{field}: this model reads no text; remove {field}$"):
            check_without_text(given)
