"""What sampling an image takes: as many operations as PyTorch counts while the embedded model makes it."""

from __future__ import annotations

import json
from shutil import copytree
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from synthkit.generators.checkpoint import BUILTIN, locate
from synthkit.generators.guide import new_guide
from synthkit.generators.lesson import SLOT, Lesson
from synthkit.generators.operations import learning_of, network_of, networks, work_of
from synthkit.recipe.feedback import FeedbackClassifier
from synthkit.recipe.load import load
from synthkit.recipe.model import Model
from synthkit.recipe.sampler import Sampler
from tests.helpers.generating import load_on_cpu
from tests.helpers.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDED = "builtin:tiny-unclip-digits"


def sampler(**fields: Any) -> Sampler:
    return Sampler.model_validate({"batch_size": 2, "guidance_scale": 2.0, "steps": 6, **fields})


@pytest.fixture(scope="module")
def generator() -> Any:
    return load_on_cpu(locate(Model(id=EMBEDDED)), sampler())


@pytest.mark.parametrize(
    ("fields", "evaluations", "rows"),
    [
        ({}, 7, 14),
        ({"scheduler": "dpm-solver++"}, 6, 12),
        ({"guidance_scale": 1.0}, 7, 7),
        ({"scheduler": "unipc", "guidance_interval": [0.3, 0.7]}, 6, 8),
        ({"scheduler": "ddim", "cache": {"every": 2}}, 6, 12),
        ({"scheduler": "euler", "cache": {"every": 3}, "guidance_interval": [0.0, 0.45]}, 6, 9),
    ],
)
def test_as_many_operations_as_are_counted(
    generator: Any, fields: dict[str, Any], evaluations: int, rows: int
) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    one = sampler(**fields)
    work = work_of(one, network_of(Model(id=EMBEDDED)))
    assert (work.evaluations, work.rows) == (evaluations, rows)
    made = generator.resampled(one)
    embeddings = np.zeros((2, *generator.embedding_shape), np.float32)
    with FlopCounterMode(display=False) as counter:
        made.generate(embeddings, ["one", "two"], [1, 2])
    assert work.operations is not None
    # The text encoder is left out.
    assert counter.get_total_flops() / 2e12 == pytest.approx(work.operations, rel=0.01)


def test_a_gradient_takes_as_many_operations_as_are_counted() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    guided = sampler(scheduler="ddim", feedback={"scale": 10.0, "every": 2})
    work = work_of(guided, network_of(Model(id=EMBEDDED)))
    assert (work.evaluations, work.rows) == (6, 12)
    generator = load_on_cpu(locate(Model(id=EMBEDDED)), guided)
    guide = new_guide(FeedbackClassifier(network="test_resnet", size=32), 2, "cpu").frozen()
    generator.use_guide(guide)
    embeddings = np.zeros((2, *generator.embedding_shape), np.float32)
    with FlopCounterMode(display=False) as counter:
        generator.generate(embeddings, ["one", "two"], [1, 2], labels=[0, 1])
    with FlopCounterMode(display=False) as of_classifier:
        guide(torch.zeros(2, 3, 32, 32))
    assert work.operations is not None
    # Three times, forwards and backwards.
    found = counter.get_total_flops() - 3 * 2 * of_classifier.get_total_flops()
    assert found / 2e12 == pytest.approx(work.operations, rel=0.01)


def test_learning_a_token_takes_as_many_operations_as_are_counted() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    recipe = load(ROOT / "recipes/digits_lt_da_fusion.yaml", ["tokens.steps=2", "tokens.batch_size=16"])
    assert recipe.tokens is not None
    generator = load_on_cpu(locate(recipe.model), sampler())
    image = Image.new("RGB", (32, 32))
    lesson = Lesson(recipe.tokens, [SLOT], "one", 1, lambda _: image, 5, on_step=lambda: None)
    with FlopCounterMode(display=False) as counter:
        generator.learn_token(lesson)
    expected = learning_of(recipe, network_of(recipe.model), classes=1)
    # The text encoder and the one image's encoding are left out.
    assert counter.get_total_flops() / 1e12 == pytest.approx(expected, rel=0.05)


def test_the_published_networks_take_what_is_documented() -> None:
    """bench/README.md has these, counted each by itself."""
    guided = {network.name: work_of(Sampler(), network).operations for network in networks()}
    assert guided["Stable unCLIP 2.1"] == pytest.approx(139.0, abs=0.05)
    assert guided["Stable Diffusion 1.5"] == pytest.approx(52.3, abs=0.05)
    unclip = network_of(Model(id="stabilityai/stable-diffusion-2-1-unclip"))
    assert work_of(Sampler(size=512), unclip).operations == pytest.approx(52.4, abs=0.05)
    xl = network_of(Model(id="stabilityai/stable-diffusion-xl-base-1.0"))
    lightning = Sampler(scheduler="euler-trailing", steps=4, guidance_scale=1.0)
    assert work_of(lightning, xl).operations == pytest.approx(37.5, abs=0.05)


def test_guidance_that_is_no_second_row_costs_nothing() -> None:
    flux = network_of(Model(id="black-forest-labs/FLUX.1-schnell"))
    assert work_of(Sampler(scheduler="flow-euler", steps=4, guidance_scale=3.5), flux).rows == 4


def test_a_copy_in_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    copied = copytree(BUILTIN["tiny-unclip-digits"], tmp_path / "mine")
    model = Model(id=str(copied))
    assert network_of(model) is None
    found = network_of(model, locate(model))
    assert found is not None
    assert (found.name, found.edge) == ("the embedded models", 32)
    config = copied / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"layers_per_block": 2}))
    assert network_of(model, locate(model)) is None


def test_without_a_network_evaluations_and_rows_are_known() -> None:
    work = work_of(sampler(guidance_interval=[0.0, 0.5]), None)
    assert (work.evaluations, work.rows, work.operations) == (7, 10, None)


@pytest.mark.parametrize("told", [-8, 10**30, 1e300])
def test_files_that_state_an_edge_that_no_image_has(tmp_path: Path, told: float) -> None:
    unclip = network_of(Model(id="stabilityai/stable-diffusion-2-1-unclip"))
    assert unclip is not None
    texts = {
        "model_index.json": {"_class_name": unclip.pipeline},
        "unet/config.json": {**unclip.shape, "sample_size": told},
        "vae/config.json": {"block_out_channels": [1, 2, 3, 4]},
    }
    for name, config in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(config))
    # Of a checkpoint only the name and the files are read.
    files: Any = SimpleNamespace(name="my/own", files={name: tmp_path / name for name in texts})
    found = network_of(Model(id="my/own"), files)
    assert found is not None
    assert found.edge == unclip.edge
