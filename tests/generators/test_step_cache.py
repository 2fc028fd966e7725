"""`sampler.cache`: the deep levels of a UNet at every n-th evaluation, and the outer ones alone between."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthkit.errors import GeneratorError
from synthkit.generators import check_recipe
from synthkit.generators.checkpoint import BUILTIN, locate
from synthkit.generators.step_cache import StepCache
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.model import Encoder, Model
from synthkit.recipe.sampler import Cache, Sampler
from tests.conftest import FLAT, Cli
from tests.helpers.adapters import SDXL_PLUS, Family, photos
from tests.helpers.families import ROUND
from tests.helpers.generating import load_on_cpu, recipe_of

SAMPLER = Sampler(scheduler="ddim", steps=5, guidance_scale=3.0, batch_size=2)
PROMPTS, SEEDS = ["zero", "one"], [1, 2]


@pytest.fixture(scope="module")
def unet() -> Any:
    """Three levels of random weights, of which two have cross attention."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(3)
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
    ).eval()


def steps_of(edge: int, rows: int = 2) -> list[dict[str, Any]]:
    """Return the arguments of three evaluations."""
    draw = torch.Generator().manual_seed(0)
    text = torch.randn(rows, 3, 8, generator=draw)
    return [
        {
            "sample": torch.randn(rows, 4, edge, edge, generator=draw),
            "timestep": torch.tensor(timestep),
            "encoder_hidden_states": text,
            "return_dict": False,
        }
        for timestep in (901, 501, 101)
    ]


def by_hand(unet: Any, step: dict[str, Any], levels: int, deep: torch.Tensor | None) -> Any:
    """Return what a UNet predicts, and what its deep levels make: computed, or as it is given."""
    text = step["encoder_hidden_states"]

    def called(block: Any, *given: Any, **named: Any) -> Any:
        return block(
            *given, **named, **({"encoder_hidden_states": text} if hasattr(block, "attentions") else {})
        )

    embedding = unet.time_embedding(unet.time_proj(step["timestep"].expand(len(text))))
    hidden = unet.conv_in(step["sample"])
    handed = [hidden]
    for level, block in enumerate(unet.down_blocks):
        if level < levels or deep is None:
            hidden, made = called(block, hidden, embedding)
            handed += made
        else:
            # None of these is used.
            handed += [None] * (len(block.resnets) + (block.downsamplers is not None))
    if deep is None:
        hidden = called(unet.mid_block, hidden, embedding)
    for level, block in enumerate(unet.up_blocks):
        taken, handed = handed[-len(block.resnets) :], handed[: -len(block.resnets)]
        if level < len(unet.up_blocks) - levels and deep is not None:
            hidden = deep
            continue
        size = None if handed[-1:] in ([], [None]) else handed[-1].shape[2:]
        hidden = called(block, hidden, tuple(taken), embedding, upsample_size=size)
        if level == len(unet.up_blocks) - levels - 1:
            deep = hidden
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden))), deep


@pytest.mark.parametrize(("levels", "edge"), [(1, 16), (2, 16), (1, 18), (2, 18)])
def test_an_evaluation_is_what_the_blocks_make_when_called_by_hand(unet: Any, levels: int, edge: int) -> None:
    """Also where a level is not half as large as the one before it."""
    evaluate = StepCache(unet, levels, lambda forward: forward).begin(2)
    first, second, third = steps_of(edge)
    with torch.no_grad():
        whole, deep = by_hand(unet, first, levels, None)
        assert evaluate(first)[0].equal(whole)
        assert unet(**first)[0].equal(whole)
        assert evaluate(second)[0].equal(by_hand(unet, second, levels, deep)[0])
        assert not unet(**second)[0].equal(by_hand(unet, second, levels, deep)[0])
        assert evaluate(third)[0].equal(unet(**third)[0])


class Counted:
    """How often a block of a UNet runs."""

    def __init__(self, block: Any) -> None:
        self.times = 0
        self._hook = block.register_forward_hook(self._count)

    def _count(self, *given: Any) -> None:
        self.times += 1

    def taken(self) -> int:
        times, self.times = self.times, 0
        return times


@pytest.mark.parametrize("every", [1, 2, 3, 4, 7])
def test_deep_blocks_run_at_every_nth_evaluation(unet: Any, every: int) -> None:
    cache = StepCache(unet, 1, lambda forward: forward)
    blocks = (unet.down_blocks[0], unet.down_blocks[1], unet.mid_block, unet.up_blocks[1], unet.up_blocks[2])
    counted = [Counted(block) for block in blocks[1:]]
    step = steps_of(16)[0]
    for evaluations in (7, 5):
        # Another batch begins with a whole evaluation again.
        evaluate = cache.begin(every)
        with torch.no_grad():
            for _ in range(evaluations):
                evaluate(step)
        deep = math.ceil(evaluations / every)
        assert [block.taken() for block in counted] == [deep, deep, deep, evaluations]


def test_an_evaluation_of_other_rows_is_whole(unet: Any) -> None:
    """As at the borders of a guidance interval; what follows is counted on."""
    evaluate = StepCache(unet, 1, lambda forward: forward).begin(4)
    counted = Counted(unet.mid_block)
    ran = []
    with torch.no_grad():
        for rows in (4, 4, 2, 2, 2, 2, 4, 4, 4):
            evaluate(steps_of(16, rows)[0])
            ran.append(counted.taken())
    assert ran == [1, 0, 1, 0, 1, 0, 1, 0, 1]


@pytest.mark.slow
def test_each_part_is_traced_whole_and_remembers() -> None:
    """As `arithmetic.compile` traces them; what it makes of the traces, a slow test compiles."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(4, 4),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        mid_block_type=None,
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=2,
    ).eval()

    def traced(forward: Any) -> Any:
        return torch.compile(forward, dynamic=False, fullgraph=True, backend="eager")

    steps = [*steps_of(8), *steps_of(8)]
    found = []
    for computed in (traced, lambda forward: forward):
        cache = StepCache(unet, 1, computed)
        with torch.no_grad():
            # A batch before it, of which nothing is left.
            for step in reversed(steps):
                cache.begin(2)(step)
            evaluate = cache.begin(2)
            found.append([evaluate(step)[0] for step in steps])
    assert all(one.equal(other) for one, other in zip(*found, strict=True))


@pytest.fixture(scope="module", params=["embedded", "adapter", "kandinsky"])
def generator(request: pytest.FixtureRequest) -> Any:
    """A model of each kind of UNet; the adapter's hooks and processors are shared by its parts."""
    if request.param == "embedded":
        return load_on_cpu(locate(Model(id="builtin:tiny-unclip-digits")), SAMPLER)
    if request.param == "kandinsky":
        decoder, prior = (str(request.getfixturevalue(name)) for name in ("decoder", "prior"))
        return load_on_cpu(locate(Model(id=decoder, encoder=Encoder(id=prior))), SAMPLER, prompt="")
    bases: list[Path] = [request.getfixturevalue(name) for name in ("sd15", "sdxl", "ip_adapters")]
    return Family(SDXL_PLUS, *bases).load(SAMPLER.model_copy(update={"size": ROUND}), scale=0.7)


def test_a_generator_runs_the_deep_levels_that_often(generator: Any) -> None:
    embeddings = generator.embed_images(photos(2))
    counted = Counted(generator.denoiser.mid_block)

    def made(**update: Any) -> np.ndarray:
        other = generator.resampled(generator.sampler.model_copy(update=update))
        images: np.ndarray = other.generate(embeddings, PROMPTS, SEEDS)
        return images

    plain, ran = made(), counted.taken()
    assert ran == SAMPLER.steps
    for cache, times in ((Cache(every=1), 5), (Cache(every=2), 3), (Cache(every=5), 1)):
        images = made(cache=cache)
        assert counted.taken() == times
        assert (images == plain).all() == (times == 5)
    # Outside of the interval another number of rows: timesteps 801, 601, 401, 201, 1.
    made(cache=Cache(every=5), guidance_interval=(0.3, 0.7))
    assert counted.taken() == 3
    np.testing.assert_array_equal(made(), plain)


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", [{"compile": True, "channels_last": True}, {"compile": "blocks"}])
def test_compiled_parts_make_nearly_the_same(arithmetic: Any) -> None:
    checkpoint = locate(Model(id="builtin:tiny-unclip-digits"))
    sampler = SAMPLER.model_copy(update={"cache": Cache(every=2)})
    plain = load_on_cpu(checkpoint, sampler)
    compiled = load_on_cpu(checkpoint, sampler, arithmetic=Arithmetic.model_validate(arithmetic))
    embeddings = plain.embed_images(photos(2))
    images = compiled.generate(embeddings, PROMPTS, SEEDS)
    counted = Counted(plain.denoiser.mid_block)
    whole = plain.generate(embeddings, PROMPTS, SEEDS)
    assert counted.taken() == 3
    assert np.abs(images.astype(int) - whole).max() <= 2
    np.testing.assert_array_equal(compiled.generate(embeddings, PROMPTS, SEEDS), images)
    without = compiled.resampled(SAMPLER).generate(embeddings, PROMPTS, SEEDS)
    assert (
        np.abs(without.astype(int) - plain.resampled(SAMPLER).generate(embeddings, PROMPTS, SEEDS)).max() <= 2
    )
    assert (without != images).any()


@pytest.mark.parametrize(
    ("change", "levels", "told"),
    [
        (
            {},
            2,
            "sampler.cache.levels: is 2, and this model's UNet has 2 levels, of which one at least must be "
            "left out; use at most 1",
        ),
        (
            {"down_block_types": ["DownBlock2D"]},
            1,
            "sampler.cache: this model's UNet has no deep levels to leave out; remove it",
        ),
        (
            {"down_block_types": ["KDownBlock2D", "DownBlock2D"]},
            1,
            "sampler.cache: this model's UNet has a KDownBlock2D, which is not known to it; remove it",
        ),
        (
            {"_class_name": "UNet2DModel"},
            1,
            "sampler.cache: needs a UNet2DConditionModel, this model has a UNet2DModel; remove it",
        ),
    ],
)
def test_levels_that_cannot_be_left_out(
    tmp_path: Path, change: dict[str, Any], levels: int, told: str
) -> None:
    """Told from the UNet's configuration, before weights are loaded."""
    copy = Path(shutil.copytree(BUILTIN["tiny-unclip-digits"], tmp_path / "copy"))
    config = copy / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    recipe = recipe_of(SAMPLER.model_copy(update={"cache": Cache(every=2, levels=levels)}))
    with pytest.raises(GeneratorError) as caught:
        check_recipe(locate(Model(id=str(copy))), recipe)
    assert str(caught.value) == told


def test_a_model_without_a_unet(schnell: Path, redux: Path) -> None:
    sampler = {"scheduler": "flow-euler", "steps": 4, "guidance_scale": 1.0, "cache": {"every": 2}}
    recipe = recipe_of(Sampler.model_validate(sampler))
    with pytest.raises(GeneratorError, match=r"^sampler\.cache: this model does not have it; remove it$"):
        check_recipe(locate(Model(id=str(schnell), encoder=Encoder(id=str(redux)))), recipe)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{every: 0}", "sampler.cache.every: must be at least 1, is 0"),
        ("{every: 2, levels: 0}", "sampler.cache.levels: must be at least 1, is 0"),
        ("{}", "sampler.cache.every: is missing"),
        ("3", "sampler.cache: must be a section with keys of its own"),
    ],
)
def test_a_cache_of_no_sense(cli: Cli, value: str, told: str) -> None:
    result = cli("plan", cli.recipe(), *FLAT, "--set", f"sampler.cache={value}")
    assert (result.exit_code, len(result.output.strip().splitlines())) == (1, 1)
    assert told in result.output


def test_without_a_cache_the_digest_is_what_it_was(cli: Cli) -> None:
    recipe = cli.recipe()
    ways = ((), ("--set", "sampler.cache=null"), ("--set", "sampler.cache={every: 2}"))
    printed = [cli("digest", recipe, *FLAT, *more).output for more in ways]
    unset, null, cached = (json.loads(text[text.index("{") :])["digest"] for text in printed)
    assert unset == null != cached
