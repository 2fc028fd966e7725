"""Validation images choose the epoch that counts; they neither train nor score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthkit_eval.score_files import read_scored
from tests.conftest import Cli
from tests.helpers.scoring import evaluate, flags

CHOSEN = ("network=test_resnet", "network_args={}", "epochs=4", "report=validation")


@pytest.mark.slow
def test_the_epoch_of_the_best_validation_accuracy_counts(flat_release: Path, cli: Cli) -> None:
    settings = (*CHOSEN, "validation.part=validation")
    score = evaluate(cli, flat_release, "--seeds", "1", settings=settings)
    assert (score["data"]["validation_images"], score["data"]["evaluation_images"]) == (200, 300)
    assert score["data"]["validation_digest"] not in (None, score["data"]["evaluation_digest"])
    detail = read_scored(cli.folder / "score.json").detail
    for run, history in zip(score["seeds"], detail.histories, strict=True):
        validation = [epoch.validation for epoch in history]
        assert run["epoch"] == 1 + int(np.argmax(validation))
        assert run["overall"] == history[run["epoch"] - 1].overall
        # Each of 200 images counts the same.
        assert all(value is not None and (200 * value) % 1 == pytest.approx(0) for value in validation)
    last = evaluate(cli, flat_release, "--seeds", "1", settings=CHOSEN[:-1])
    assert [run["epoch"] for run in last["seeds"]] == [4]
    assert last["data"]["validation_images"] is None
    # What is tested beside changes no training.
    histories = read_scored(cli.folder / "score.json").detail.histories
    assert [[e.overall for e in run] for run in histories] == [
        [e.overall for e in run] for run in detail.histories
    ]


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("part=train", "leak: 44 of 44 validation images may have been learned from: digits/"),
        ("part=test", "leak: 300 of 300 validation images are evaluation images as well: digits/"),
        ("splt=val", "validation.splt: Extra inputs are not permitted; the real images are of kind digits"),
        ("subset=[zero]", "small: has 10 classes, the validation images 1, and only one of them has"),
    ],
)
def test_images_that_cannot_choose(flat_release: Path, cli: Cli, field: str, told: str) -> None:
    words = ["--protocol", "digits-lt", "--features", "none", *flags(*CHOSEN, f"validation.{field}")]
    result = cli("eval", flat_release, *words)
    assert result.exit_code == 1
    assert told in result.stderr
    assert not list(cli.folder.glob("scores/**/*.json"))
