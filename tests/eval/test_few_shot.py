"""Few-shot releases whose data set has no part of its own for testing: all images but the shots score."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from synthkit.sources import open_source
from tests.conftest import Cli
from tests.helpers import miniatures
from tests.helpers.opening import config
from tests.helpers.paths import ROOT
from tests.helpers.scoring import evaluate, flags

FLAT = ("model={id: builtin:flat-colours}", "sampler.batch_size=4", "synthetic_per_class=2")
ONE_SHOT = {"shots": 1, "trial": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five classes of four images each."""
    return miniatures.caltech101(tmp_path / "images", per_class=4)


def build(cli: Cli, folder: Path, *settings: str) -> str:
    """Build `small` from one image a class; return the message of an error."""
    source = {"kind": "folder", "root": str(folder), **ONE_SHOT}
    words = flags("target_per_class=null", f"source={json.dumps(source)}", *FLAT, *settings)
    result = cli("build", cli.recipe(), *words)
    return str(result.stderr) if result.exit_code else ""


def test_the_digits_that_are_not_shots_score_by_the_usual_protocol(cli: Cli) -> None:
    built = cli("build", ROOT / "recipes/digits_few_shot.yaml", *flags(*FLAT, "source.shots=2"))
    assert built.exit_code == 0, built.output
    quick = flags("network=test_resnet", "network_args={}", "batches.iterations=2")
    words = ["--features", "none", "--seeds", "1", "--out", "score.json"]
    scored = cli("eval", "releases/digits-few-shot", *words, *quick)
    assert scored.exit_code == 0, scored.output
    score = json.loads((cli.folder / "score.json").read_text())
    assert score["protocol"]["name"] == "digits-few-shot"
    assert (score["data"]["training_images"], score["data"]["evaluation_images"]) == (20, 880)
    # With the shots among them, they cannot score.
    refused = cli("eval", "releases/digits-few-shot", *words, *quick, *flags("evaluation.part=unseen"))
    assert refused.exit_code == 1
    assert "leak: 20 of 900 evaluation images may have been learned from" in refused.stderr


def test_a_folder_of_shots_is_scored_by_its_other_images(folder: Path, cli: Cli) -> None:
    assert build(cli, folder) == ""
    score = evaluate(cli, cli.folder / "releases/small", *flags(f"source.root={folder}"), "--seeds", "1")
    assert (score["data"]["training_images"], score["data"]["evaluation_images"]) == (5, 15)


def test_a_copy_of_a_shot_is_found_before_anything_is_made(folder: Path, cli: Cli) -> None:
    few = config(kind="folder", root=str(folder), **ONE_SHOT)
    shot = open_source(few).listing.ids[0]
    copies = (f"{shot.removesuffix('.jpg')}_{number}.jpg" for number in range(9))
    for copy in copies:
        shutil.copy(folder / shot, folder / copy)
        if open_source(few).listing.ids[0] == shot:
            break
        (folder / copy).unlink()
    message = build(cli, folder)
    assert f"source.shots: 1 held-out images are in the pool: {copy} has the content of {shot}" in message
    assert "leave one out with source.exclude" in message
    assert build(cli, folder, f"source.exclude=[{copy}]") == ""
    root = flags(f"source.root={folder}")
    score = evaluate(cli, cli.folder / "releases/small", *root, "--seeds", "1")
    assert score["data"]["evaluation_images"] == 15


def test_a_release_is_not_made_from_the_images_that_score(folder: Path, cli: Cli) -> None:
    message = build(cli, folder, "source.all_but_shots=true")
    assert "all_but_shots chooses images to score with, and no release is made from them" in message
