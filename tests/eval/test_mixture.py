"""Scores that ask how many synthetic images, and in what mixture with the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkit.recipe.load import load
from synthkit.release.manifest import read_manifest
from synthkit_eval.score_files import read_scored
from synthkit_eval.training.synthetic_images import SyntheticImages, open_used
from tests.conftest import FLAT, Cli
from tests.helpers.scoring import evaluate, flags

ONE_EPOCH = ("network=test_resnet", "network_args={}", "epochs=1")


def used(release: Path, per_class: int | None) -> SyntheticImages:
    return open_used(release, read_manifest(release), load(release / "recipe.yaml"), per_class)


def test_the_first_images_of_a_class_are_those_of_a_smaller_release(flat_release: Path, cli: Cli) -> None:
    smaller = cli("build", cli.recipe("target_per_class: null", "synthetic_per_class: 3"), *FLAT)
    assert smaller.exit_code == 0, smaller.output
    whole, first = used(flat_release, None), used(flat_release, 3)
    small = used(cli.folder / "releases" / "small", None)
    assert (len(whole), len(first)) == (76, 30)

    def shown(images: SyntheticImages) -> list[tuple[int, bytes]]:
        return sorted((int(label), images.image(i).tobytes()) for i, label in enumerate(images.labels))

    assert shown(first) == shown(small)
    # Some classes have fewer than seven.
    counts = [min(item.synthetic, 7) for item in read_manifest(flat_release).classes]
    assert min(counts) < 7
    assert len(used(flat_release, 7)) == sum(counts)


def test_a_score_of_some_images_says_so_everywhere(flat_release: Path, cli: Cli) -> None:
    settings = (*ONE_EPOCH, "batches.synthetic_per_class=3", "batches.real=0.25")
    features = ["--features", "builtin:tiny-unclip-digits"]
    score = evaluate(cli, flat_release, "--seeds", "1", *features, settings=settings)
    assert score["release"]["images"] == 30
    assert {item.synthetic for item in read_scored(cli.folder / "score.json").detail.classes} == {3}
    assert score["set_metrics"]["overall"]["synthetic"] == 30
    assert score["steps"] == 1  # one epoch of ⌈30 / 48⌉ minibatches
    alone = evaluate(cli, flat_release, "--seeds", "1", "--real-only", settings=settings)
    assert (alone["steps"], alone["protocol"]["digest"]) == (score["steps"], score["protocol"]["digest"])
    # Metrics of some images are not taken for those of all.
    every = evaluate(cli, flat_release, "--seeds", "1", *features, settings=ONE_EPOCH)
    assert every["set_metrics"]["overall"]["synthetic"] == every["release"]["images"] == 76
    assert len(list(cli.folder.glob(".synthkit/eval/*/seed-0.json"))) == 3


def test_synthetic_images_alone(flat_release: Path, cli: Cli) -> None:
    score = evaluate(cli, flat_release, "--seeds", "1", settings=(*ONE_EPOCH, "batches.real=0"))
    assert score["trained_on"] == "synthetic"
    assert score["steps"] == 2  # one epoch of ⌈76 / 64⌉ minibatches
    shown = cli("compare", cli.folder / "score.json")
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("more", [[], ["--real-only"]])
def test_more_images_than_any_class_has_are_refused(flat_release: Path, cli: Cli, more: list[str]) -> None:
    words = ["--protocol", "digits-lt", *flags("batches.synthetic_per_class=12"), *more]
    result = cli("eval", flat_release, *words)
    assert result.exit_code == 1
    most = max(item.synthetic for item in read_manifest(flat_release).classes)
    assert result.stderr.splitlines() == [
        f"error: batches.synthetic_per_class: is 12, but small has {most} images of a class at most; "
        "lower it, or build more"
    ]
