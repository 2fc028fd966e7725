"""Which synthetic images an epoch trains on, by a curriculum over their levels.

Source: Liang et al. 2025, Diffusion Curriculum (arXiv 2410.13674), algorithm 1 and appendix A.4.1.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from synthkit.errors import ScoreError
from synthkit.release.manifest import read_manifest
from synthkit_eval.protocol import Protocol, load_protocol
from synthkit_eval.sections.curriculum import Curriculum
from synthkit_eval.training.curriculum import LevelsOfEpochs, schedule
from synthkit_eval.training.distributed import World
from synthkit_eval.training.orders import Order
from synthkit_eval.training.stages import Stage
from synthkit_eval.training.task import Task
from synthkit_eval.training.trainer import order_of
from tests.conftest import Cli
from tests.helpers.scoring import evaluate, flags

LEVELS = (1.0, 0.9, 0.7, 0.5)
REAL, SYNTHETIC = 6, 30
# Of three levels; 14, 10 and 6 images have them.
OF_IMAGES = np.array([(0.9, 0.5, 0.2)[0 if n < 14 else 1 if n < 24 else 2] for n in range(SYNTHETIC)])
RECIPE = """\
name: small-discl
source: {kind: digits, max_per_class: 8, imbalance_factor: 4.0, part: train}
synthetic_per_class: 8
conditioning: {method: real-guidance, strength: {levels: [0.5, 1.0]}}
model: {id: "builtin:flat-colours"}
"""


# --- the level of each epoch ---------------------------------------------------------------------------


def test_the_schedule_is_the_papers() -> None:
    """60 of 65 epochs: every level as long as another, from no image guidance to the most of them."""
    found = schedule(Curriculum(), [0.7, 0.5, 1.0, 0.9], 65)
    assert found == (*[1.0] * 15, *[0.9] * 15, *[0.7] * 15, *[0.5] * 15, *[None] * 5)
    # λ(e), the image guidance, is a linear function of the stage, in steps of equal length.
    guidance = [1 - level for level in found if level is not None]
    assert all(one <= other for one, other in pairwise(guidance))


@pytest.mark.parametrize(
    ("settings", "epochs", "levels", "expected"),
    [
        ({}, 10, LEVELS, [1.0, 1.0, 1.0, 0.9, 0.9, 0.7, 0.7, 0.5, 0.5, None]),
        ({}, 5, LEVELS, [*LEVELS, None]),
        ({"real_epochs": 0}, 4, LEVELS, [*LEVELS]),
        ({"real_epochs": 3, "order": "specific-to-diverse"}, 5, (0.5, 1.0), [0.5, 1.0, None, None, None]),
        # The more an image weighs, the more it guides.
        ({"over": "scale", "real_epochs": 0}, 3, (0.9, 0.2, 0.5), [0.2, 0.5, 0.9]),
        ({"over": "scale", "real_epochs": 0, "order": "specific-to-diverse"}, 2, (0.2, 0.9), [0.9, 0.2]),
    ],
)
def test_the_schedule(
    settings: dict[str, Any], epochs: int, levels: tuple[float, ...], expected: list[float | None]
) -> None:
    assert list(schedule(Curriculum.model_validate(settings), levels, epochs)) == expected


# --- the images of each epoch --------------------------------------------------------------------------


def task_of(protocol: Protocol, steps: int, world: World | None = None, *, leveled: bool = True) -> Task:
    """A run of four epochs: three levels, then real images alone."""
    labels = np.r_[np.arange(REAL) % 3, np.arange(SYNTHETIC) % 3]
    training: Any = type("Images", (), {"labels": labels, "__len__": lambda self: len(labels)})()
    nothing: Any = None
    epochs = schedule(Curriculum(real_epochs=1), (0.9, 0.5, 0.2), 4)
    assert epochs == (0.9, 0.5, 0.2, None)
    return Task(
        protocol=protocol,
        training=training,
        evaluation=nothing,
        grouping=nothing,
        real=(2, 2, 2),
        synthetic=SYNTHETIC,
        steps=steps,
        device="cpu",
        world=world or World(),
        workers=0,
        levels=LevelsOfEpochs(OF_IMAGES, epochs) if leveled else None,
    )


def order(protocol: Protocol, *, steps: int = 8, world: World | None = None, leveled: bool = True) -> Order:
    """Which images the minibatches of its epochs hold."""
    return order_of(task_of(protocol, steps, world, leveled=leveled), Stage(protocol), seed=3)


def shown(found: Order, epoch: int) -> tuple[Counter[int], Counter[int]]:
    """How often an epoch shows each real image, and each synthetic one."""
    indices = [index for batch in found.batches(epoch) for index in batch]
    return Counter(n for n in indices if n < REAL), Counter(n - REAL for n in indices if n >= REAL)


@pytest.mark.parametrize("size", [8, 16])
def test_passes_over_the_images_of_the_epochs_level(size: int) -> None:
    protocol = load_protocol("digits-lt", [f"batches.size={size}"])
    leveled, plain = order(protocol, steps=-(-60 // size)), order(protocol, leveled=False)
    assert len(leveled) == len(plain) == -(-60 // size)
    for epoch, level in enumerate((0.9, 0.5, 0.2)):
        sizes = [[len(batch) for batch in found.batches(epoch)] for found in (leveled, plain)]
        assert sizes[0] == sizes[1]
        real, synthetic = shown(leveled, epoch)
        assert real.total() == 30 and len(real) == REAL
        # As many synthetic images as all: those of the level, each as often as another, but for one time.
        assert synthetic.total() == SYNTHETIC
        assert set(synthetic) == set(np.flatnonzero(level == OF_IMAGES).tolist())
        assert max(synthetic.values()) - min(synthetic.values()) <= 1
    real, synthetic = shown(leveled, 3)
    assert not synthetic and real.total() == len(leveled) * size


@pytest.mark.parametrize("glmc", ["null", "{}"])
def test_a_run_has_as_many_images_as_its_task_says(glmc: str) -> None:
    """For the progress that is shown."""
    task = task_of(load_protocol("digits-lt", ["batches.size=16", "epochs=4", f"glmc={glmc}"]), steps=4)
    found = order_of(task, Stage(task.protocol), seed=3)
    counts = [sum(len(batch) for batch in found.batches(epoch)) for epoch in range(4)]
    assert [task.images(epochs) for epochs in range(5)] == np.cumsum([0, *counts]).tolist()


def test_a_coin_between_real_images_and_those_of_the_epochs_level() -> None:
    protocol = load_protocol("digits-few-shot", ["batches.iterations=60"])
    leveled = order(protocol, steps=60)
    for epoch, level in enumerate((0.9, 0.5, 0.2)):
        real, synthetic = shown(leveled, epoch)
        assert set(synthetic) == set(np.flatnonzero(level == OF_IMAGES).tolist())
        assert real.total() + synthetic.total() == 60 * 16
        assert 400 < synthetic.total() < 560
    assert not shown(leveled, 3)[1]


def test_all_processes_share_the_same_minibatches() -> None:
    """The last minibatch is left out if it is small, as without levels."""
    protocol = load_protocol("digits-lt", ["batches.size=16"])
    found = [list(order(protocol, steps=3, world=World(rank, 2)).batches(1)) for rank in range(2)]
    assert found[0] == found[1]
    assert [len(batch) for batch in found[0]] == [16] * 3
    assert list(order(protocol, steps=3, world=World(0, 2)).batches(1)) == found[0]


def test_partners_are_of_the_epochs_level_too() -> None:
    protocol = load_protocol("digits-lt-glmc", ["batches.size=16"])
    leveled = order(protocol, steps=4)
    for epoch, level in enumerate((0.9, 0.5, 0.2, None)):
        _, synthetic = shown(leveled, epoch)
        assert set(synthetic) <= set(np.flatnonzero(level == OF_IMAGES).tolist())
        assert bool(synthetic) is (level is not None)
        assert all(len(batch) % 2 == 0 for batch in leveled.batches(epoch))


# --- a release -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A release of 80 images at two strengths."""
    cli = Cli(tmp_path_factory.mktemp("discl"))
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    assert cli("build", "recipe.yaml", "--workers", "1").exit_code == 0
    return cli


def test_a_release_is_scored_by_the_levels_of_its_records(project: Cli, monkeypatch: Any) -> None:
    from synthkit_eval.training.loader import TrainingImages

    release, numbers = project.folder / "releases" / "small-discl", list[list[int]]()
    load = TrainingImages._load

    def noted(images: TrainingImages, batch: Any) -> Any:
        numbers.append([index - 44 for index in batch.indices if index >= 44])
        return load(images, batch)

    monkeypatch.setattr(TrainingImages, "_load", noted)
    settings = ("network=test_resnet", "network_args={}", "epochs=3", "curriculum={}", "batches.size=16")
    score = evaluate(project, release, "--seeds", "1", settings=settings)
    assert score["protocol"]["settings"]["curriculum"] == {
        "over": "strength",
        "order": "diverse-to-specific",
        "real_epochs": None,
    }
    assert score["steps"] == 30
    strengths = strengths_of(release)
    epochs = [[n for batch in numbers[start : start + 10] for n in batch] for start in (0, 10, 20)]
    assert [{strengths[n] for n in epoch} for epoch in epochs] == [{1.0}, {0.5}, set()]
    assert [len(epoch) for epoch in epochs] == [80, 80, 0]


def strengths_of(release: Path) -> list[float]:
    import pyarrow.parquet as pq

    tables = read_manifest(release).tables()
    return [value for path in tables for value in pq.read_table(release / path)["strength"].to_pylist()]


def test_some_images_of_each_class_and_real_ones_alone(project: Cli) -> None:
    release = project.folder / "releases" / "small-discl"
    quick = ("network=test_resnet", "network_args={}", "epochs=3", "curriculum={}")
    used = evaluate(project, release, "--seeds", "1", settings=(*quick, "batches.synthetic_per_class=2"))
    assert used["release"]["images"] == 20
    alone = evaluate(project, release, "--seeds", "1", "--real-only", settings=quick)
    assert alone["trained_on"] == "real"
    said = refused(project, release, *quick, "batches.synthetic_per_class=1")
    assert (
        "curriculum: none of the 10 images of small-discl that train has strength 1; use more of them" in said
    )


# --- what is refused -----------------------------------------------------------------------------------


def refused(cli: Cli, release: Path, *settings: str) -> str:
    words = ["--protocol", "digits-lt", "--features", "none", "--device", "cpu"]
    result = cli("eval", release, *words, *flags(*settings))
    assert result.exit_code == 1
    return result.output.splitlines()[-1]


def test_a_release_without_levels_is_refused(flat_release: Path, project: Cli) -> None:
    begin = "error: curriculum: needs several levels of strength, and "
    how = "build it with conditioning.strength: {levels: [...]}, or leave the curriculum out"
    end = f"; {how}: --set curriculum=null"
    assert refused(project, flat_release, "curriculum={}") == f"{begin}small has none{end}"
    own = project.folder / "releases" / "small-discl"
    said = refused(project, own, "curriculum={over: scale}")
    assert said.startswith(
        "error: curriculum: needs several levels of scale, and small-discl has none; build"
    )
    for strength, has in (
        (0.5, "one alone"),
        ([0.5, 1.0], "any of a range"),
        ({"choices": [0.5]}, "one alone"),
    ):
        assert f"has {has}; build it" in told_of(strength)


def told_of(strength: Any) -> str:
    from synthkit.recipe.conditioning import Conditioning
    from synthkit_eval.training.curriculum import check_levels

    conditioning = Conditioning.model_validate({"method": "real-guidance", "strength": strength})
    recipe: Any = SimpleNamespace(name="some", conditioning=conditioning)
    with pytest.raises(ScoreError) as refusal:
        check_levels(load_protocol("digits-lt-discl"), recipe)
    return str(refusal.value)


def test_more_levels_than_epochs_are_refused() -> None:
    told = told_of({"levels": [n / 10 for n in range(1, 11)]})
    assert "has 10 levels of strength, each of an epoch or more, and only 9 of 10 epochs have" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["curriculum={real_epochs: 10}"],
            "curriculum.real_epochs: is 10, and epochs is 10: none is left for",
        ),
        (["epochs=1", "curriculum={}"], "curriculum.real_epochs: is 1, and epochs is 1: none is left"),
        (
            ["curriculum={}", "batches.real=0"],
            "have real images alone, and batches.real is 0; set curriculum.",
        ),
        (
            ["curriculum={}", "decouple={kind: crt, epochs: 2}"],
            "curriculum: the second stage (decouple) has no",
        ),
        (["curriculum={over: noise}"], "curriculum.over: must be one of strength, scale; is"),
        (
            ["curriculum={order: easy}"],
            "curriculum.order: must be one of diverse-to-specific",
        ),
    ],
)
def test_a_protocol_that_cannot_be(changes: list[str], said: str) -> None:
    with pytest.raises(ScoreError) as refusal:
        load_protocol("digits-lt", changes)
    assert said in str(refusal.value)


def test_a_curriculum_changes_the_digest_and_its_lack_does_not() -> None:
    plain, leveled, other = (
        load_protocol("digits-lt", changes).digest
        for changes in ([], ["curriculum={}"], ["curriculum={order: specific-to-diverse}"])
    )
    assert load_protocol("digits-lt", ["curriculum=null"]).digest == plain
    assert len({plain, leveled, other}) == 3
