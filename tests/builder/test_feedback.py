"""`sampler.feedback` in a build: a classifier of the real images guides, and is a part of the release."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from synthkit.generators.feedback import entropy
from synthkit.generators.guide import open_guide
from synthkit.recipe.feedback import FeedbackClassifier
from synthkit.release.image import read_images
from synthkit.release.manifest import read_manifest
from tests.conftest import FLAT, Cli
from tests.helpers.paths import ROOT

GUIDING = "sampler.feedback"
OTHER = ("--set", "name=other")
RECIPE = """\
name: guided
source: {kind: digits, subset: [zero, one, two], max_per_class: 8, groups: {many_above: 6, few_below: 4}}
synthetic_per_class: 6
model: {id: "builtin:tiny-unclip-digits"}
sampler:
  scheduler: ddim
  steps: 4
  guidance_scale: 2.0
  batch_size: 6
  feedback:
    scale: 30.0
    every: 2
    classifier: {network: test_resnet, size: 32, training: {steps: 40, batch_size: 16, learning_rate: 0.005}}
output: {shard_size: 12}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A folder with a recipe and the release of it."""
    cli = Cli(tmp_path_factory.mktemp("feedback"))
    (cli.folder / "recipe.yaml").write_text(RECIPE)
    told(cli, "build", "recipe.yaml", "--workers", "1")
    yield cli


def told(cli: Cli, *arguments: object) -> str:
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(cli: Cli, *arguments: object) -> str:
    result = cli(*arguments)
    assert result.exit_code == 1, result.output
    assert result.output.count("error:") == 1 and len(result.output.splitlines()) == 1, result.output
    return str(result.output)


def data_of(release: Path) -> dict[str, str]:
    found = [*release.glob("data/*"), *release.glob("provenance/*"), release / "classifier.safetensors"]
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in found}


def pixels(release: Path) -> np.ndarray:
    images = read_images(release, read_manifest(release))
    return np.stack([np.asarray(image.pixels()) for image in images])


@pytest.mark.slow
def test_the_classifier_is_less_sure_of_images_that_it_guided(project: Cli) -> None:
    told(project, "build", "recipe.yaml", "--set", f"{GUIDING}=null", "--set", "name=plain", "--workers", "1")
    releases = project.folder / "releases"
    config = FeedbackClassifier(network="test_resnet", size=32)
    classifier = open_guide(config, releases / "guided" / "classifier.safetensors", 3, "cpu")
    found = []
    for name in ("plain", "guided"):
        images = torch.from_numpy(pixels(releases / name)).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            found.append(float(entropy(classifier(images)).mean()))
    assert found[0] + 0.05 < found[1]


def test_a_release_tells_of_it_and_is_made_again(project: Cli) -> None:
    release = project.folder / "releases" / "guided"
    assert "is intact: 18 images" in told(project, "verify", release)
    assert "18 of 18 identical" in told(project, "replay", release, "--sample", "18")
    weights = sha256((release / "classifier.safetensors").read_bytes()).hexdigest()
    assert f"sha256: {weights}\n" in (release / "recipe.yaml").read_text()
    said = (
        "towards a higher entropy by a test_resnet from 40 steps on the real images, scale 30, at "
        "one of 2 evaluations"
    )
    for what in ([release], [release, "3"]):
        assert re.search(rf"guided +{said}; content {weights[:16]}\n", told(project, "show", *what))
    card = (release / "README.md").read_text()
    assert said in card
    assert "| `classifier.safetensors` | the weights of the classifier" in card
    assert read_manifest(release).feedback is not None


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True])
def test_a_build_that_is_killed_goes_on_and_makes_the_same_bytes(project: Cli, trained: bool) -> None:
    """It is killed while the classifier is trained, or while it guides."""
    out = f"killed-{trained}"
    many = ("--set", "synthetic_per_class=40", "--workers", "1", "--out", out)
    words = ("build", "recipe.yaml", *many)
    command = [sys.executable, "-m", "synthkit", *words]
    process = subprocess.Popen(
        command, cwd=project.folder, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    kept = project.folder / out / ".synthkit" / "classifiers"
    begun = (lambda: [*kept.parent.glob("*/shards/*.tar")]) if trained else kept.exists
    while not begun():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert bool([*kept.glob("*.safetensors")]) is trained
    assert not (project.folder / out / "guided").exists()
    told(project, *words)
    told(project, *words[:-1], "whole-again")
    assert data_of(project.folder / out / "guided") == data_of(project.folder / "whole-again" / "guided")


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(project: Cli) -> None:
    """The classifier is trained anew in each work folder."""
    whole = data_of(project.folder / "releases" / "guided")
    told(project, "build", "recipe.yaml", "--workers", "2", "--out", "two")
    assert data_of(project.folder / "two" / "guided") == whole


def test_a_release_is_built_again_from_its_recipe_and_its_classifier(project: Cli) -> None:
    release = project.folder / "releases" / "guided"
    shutil.copy(release / "recipe.yaml", project.folder / "again.yaml")
    named = ("--set", f"{GUIDING}.classifier.checkpoint={release / 'classifier.safetensors'}")
    told(project, "build", "again.yaml", *named, "--out", "again", "--workers", "1")
    assert data_of(project.folder / "again" / "guided") == data_of(release)
    assert (project.folder / "again/guided/recipe.yaml").read_bytes() == (
        release / "recipe.yaml"
    ).read_bytes()


def test_the_classifier_is_trained_once_and_written_to_a_file(project: Cli) -> None:
    output = told(project, "train-classifier", "recipe.yaml", "--to", "mine.safetensors")
    weights = (project.folder / "mine.safetensors").read_bytes()
    assert weights == (project.folder / "releases/guided/classifier.safetensors").read_bytes()
    assert "training the classifier" not in output
    assert f"--set {GUIDING}.classifier.sha256={sha256(weights).hexdigest()}" in output
    none = refused(project, "train-classifier", "recipe.yaml", "--set", f"{GUIDING}=null")
    assert "sampler.feedback: is missing, so no classifier guides" in none


def test_a_file_that_is_named_is_not_called_a_classifier(cli: Cli) -> None:
    (cli.folder / "notes.txt").write_text("no weights")
    named = f"{GUIDING}={{scale: 1, classifier: {{network: test_resnet, checkpoint: notes.txt}}}}"
    error = refused(cli, "train-classifier", cli.recipe(), "--set", named)
    assert f"{GUIDING}.classifier.checkpoint: names a file of weights, so nothing is to be trained" in error


def test_another_file_in_its_place_is_found(project: Cli) -> None:
    forged = project.folder / "forged"
    shutil.copytree(project.folder / "releases" / "guided", forged)
    path = forged / "classifier.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.unlink()
    path.write_bytes(raw)
    result = project("verify", forged)
    assert result.exit_code == 1
    assert "classifier.safetensors" in result.output
    assert "other weights" in refused(project, "replay", forged, "--sample", "1").replace("\n", " ")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            [f"{GUIDING}.criterion=margin"],
            "sampler.feedback.criterion: must be one of entropy, loss; is 'margin'",
        ),
        ([f"{GUIDING}.scale=-1"], "sampler.feedback.scale: must be at least 0, is -1"),
        ([f"{GUIDING}.every=0"], "sampler.feedback.every: must be at least 1, is 0"),
        ([f"{GUIDING}={{every: 5}}"], "sampler.feedback.scale: is missing"),
        ([f"{GUIDING}.classifier.network=hf-hub:a/b"], "sampler.feedback.classifier.network: "),
        ([f"{GUIDING}.classifier.checkpoint=a"], "classifier.training: cannot be given together with checkp"),
        (["sampler.cache={every: 2}"], "sampler.feedback: goes without cache"),
        (["sampler.batch_size=auto"], "sampler.batch_size: auto does not measure"),
        (["source.subset=[zero]"], "sampler.feedback: 'zero' is the only class"),
        (
            ["synthetic_per_class=8", "grown=[{target: 6, classes: 2}]"],
            "sampler: feedback: an earlier version has fewer classes",
        ),
    ],
)
def test_what_no_recipe_may_say(project: Cli, changes: list[str], error: str) -> None:
    words = [word for change in changes for word in ("--set", change)]
    assert error in refused(project, "plan", "recipe.yaml", *words)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (["model.id=builtin:flat-colours"], "sampler.feedback: this model does not have it; remove it"),
        (["arithmetic.compile=true"], "arithmetic.compile: goes without sampler.feedback"),
        (
            [f"{GUIDING}.classifier.network=resnet1"],
            "sampler.feedback.classifier.network: timm has no 'resnet1'",
        ),
        ([f"{GUIDING}.classifier.network=vit_tiny_patch16_224"], "does not take images of 32 pixels"),
    ],
)
def test_what_no_build_takes(project: Cli, changes: list[str], error: str) -> None:
    words = [word for change in changes for word in ("--set", change)]
    result = project("build", "recipe.yaml", *words, *OTHER)
    assert result.exit_code == 1
    assert error in " ".join(result.output.split())
    assert not (project.folder / "releases" / "other").exists()


def test_a_classifier_of_other_classes(project: Cli) -> None:
    weights = project.folder / "releases/guided/classifier.safetensors"
    given = f"{GUIDING}.classifier={{network: test_resnet, size: 32, checkpoint: {weights}}}"
    result = project("build", "recipe.yaml", "--set", "source.subset=[zero, one]", "--set", given, *OTHER)
    assert result.exit_code == 1
    assert "is not a test_resnet of 2 classes" in result.output
    gone = refused(project, "digest", "recipe.yaml", "--set", given.replace("guided/class", "gone/class"))
    assert f"{GUIDING}.classifier.checkpoint: " in gone and "No such file" in gone


def test_parts_on_several_machines_need_one_file(project: Cli) -> None:
    error = refused(project, "build", "recipe.yaml", "--shards", "1/2", "--out", "parts")
    assert "synthkit train-classifier RECIPE --to FILE" in error


def test_a_plan_counts_the_gradients(project: Cli) -> None:
    def planned(*more: str) -> float:
        printed = told(project, "plan", "recipe.yaml", "--json", *more)
        return float(json.loads(printed)["sampling"]["tflop_per_image"])

    plain, guided = planned("--set", f"{GUIDING}=null"), planned()
    # Two of four evaluations take twice as much, and the image is decoded twice more, with gradients.
    assert 1.4 * plain < guided < 3 * plain
    assert planned("--set", f"{GUIDING}.scale=0.0") == plain
    output = " ".join(told(project, "plan", "recipe.yaml").split())
    assert "Guided by a classifier: 2 of the 4 evaluations, each with a gradient, which is counted" in output
    assert "nor its training before, 40 steps" in output


@pytest.mark.slow
def test_a_release_grows_by_the_same_classifier(project: Cli) -> None:
    recipe, release = project.folder / "grown.yaml", project.folder / "releases" / "grown"
    recipe.write_text(RECIPE.replace("name: guided", "name: grown").replace("steps: 4", "steps: 2"))
    told(project, "build", recipe, "--workers", "1")
    before = data_of(release)
    told(project, "grow", recipe, "--target", "8")
    told(project, "build", recipe, "--workers", "1")
    after = data_of(release)
    assert before.items() <= after.items() and len(after) > len(before)
    assert "is intact: 24 images" in told(project, "verify", release)
    more = ("--set", "source.subset=[zero, one, two, three]")
    assert "feedback: an earlier version has fewer classes" in refused(
        project, "build", recipe, *more, "--set", "grown=[{target: 6, classes: 3}]"
    )


def test_no_other_digest_moves(cli: Cli) -> None:
    def digest(*more: str) -> str:
        printed = told(cli, "digest", cli.recipe(), *FLAT, *more)
        return str(json.loads(printed[printed.index("{") :])["digest"])

    assert digest() == digest("--set", f"{GUIDING}=null")
