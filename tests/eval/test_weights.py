"""`synthkit eval --weights`: the networks of a score, to be used by timm and to guide a build."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from synthkit.errors import GeneratorError
from synthkit.generators.guide import open_guide
from synthkit.recipe.feedback import FeedbackClassifier
from synthkit.recipe.load import load
from synthkit_eval.kept_weights import KeptWeights, told_weights
from synthkit_eval.protocol import load_protocol
from synthkit_eval.score_files import read_scored
from synthkit_eval.training.distributed import World
from synthkit_eval.training.loader import EvaluationImages, evaluation_batches
from synthkit_eval.training.trainer import Inputs
from tests.conftest import Cli
from tests.helpers.scoring import QUICK, evaluate_and_tell, flags, real_digits

KEPT = ("--real-only", "--seeds", "1", "--weights", "networks")
NAME = "small-real-only-seed-0.safetensors"


@pytest.fixture(scope="module")
def scored(flat_release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cli, str]:
    """A folder with a score of real images alone and its network, and what the command told."""
    cli = Cli(tmp_path_factory.mktemp("networks"))
    _, told = evaluate_and_tell(cli, flat_release, *KEPT)
    return cli, told


def test_timm_loads_it_and_it_is_right_where_the_score_says(scored: tuple[Cli, str]) -> None:
    cli, _ = scored
    detail = read_scored(cli.folder / "score.json").detail
    network = timm.create_model("test_resnet", num_classes=10).eval()
    network.load_state_dict(load_file(cli.folder / "networks" / NAME))
    images = load_protocol("digits-lt", QUICK).images
    test, inputs = real_digits("test"), Inputs(images, "cpu")
    with torch.no_grad():
        found = [
            network(inputs(batch)).argmax(1)
            for batch in evaluation_batches(EvaluationImages(test, images), 256, World(), 0)
        ]
    labels = np.asarray(test.listing.labels)
    assert (torch.cat(found).numpy() == labels).mean() == pytest.approx(float(detail.right[0].mean()))


def test_it_says_what_it_is(scored: tuple[Cli, str]) -> None:
    with safe_open(scored[0].folder / "networks" / NAME, framework="pt") as file:
        facts = json.loads(file.metadata()["about"])
    assert (facts["network"], facts["network_args"], facts["fits"]) == ("test_resnet", {}, "timm")
    assert (facts["classes"], facts["size"], facts["mean"]) == (10, 32, [0.5, 0.5, 0.5])
    assert (facts["protocol"], facts["trained_on"], facts["seed"]) == ("digits-lt", "real", 0)


def test_it_guides_a_build_by_the_words_that_are_printed(scored: tuple[Cli, str], tmp_path: Path) -> None:
    cli, told = scored
    assert f"Network: networks/{NAME}" in told
    (line,) = [line for line in told.splitlines() if line.startswith("Guide a build by it, beside ")]
    *_, setting = shlex.split(line)
    guidance = ("--set", "sampler.feedback={scale: 30, every: 2}", "--set", setting)
    built = cli("build", cli.recipe(), "--limit", "2", *guidance, "--out", tmp_path)
    assert built.exit_code == 0, built.output
    guiding = tmp_path / "small-preview" / "classifier.safetensors"
    assert guiding.read_bytes() == (cli.folder / "networks" / NAME).read_bytes()


def test_again_it_is_the_same_and_nothing_is_trained(scored: tuple[Cli, str], flat_release: Path) -> None:
    cli, _ = scored
    path = cli.folder / "networks" / NAME
    before = path.read_bytes()
    path.unlink()
    _, told = evaluate_and_tell(cli, flat_release, *KEPT)
    assert path.read_bytes() == before
    assert "training 1 of 1" not in told
    # A run whose network was not kept is trained for it.
    next(cli.folder.glob(".synthkit/eval/*/seed-0.network.safetensors")).unlink()
    _, told = evaluate_and_tell(cli, flat_release, *KEPT)
    assert "seed 0: is trained again, for its network was not kept" in told
    assert path.read_bytes() == before


def test_a_network_with_arguments_is_kept_and_cannot_guide(cli: Cli, flat_release: Path) -> None:
    settings = ("network_args.channels=[8, 8, 8, 8]", "epochs=1", "images.size=16")
    _, told = evaluate_and_tell(cli, flat_release, *KEPT, settings=settings)
    assert "It cannot guide a build (sampler.feedback): it has network_args (channels)" in told
    assert (cli.folder / "networks" / NAME).is_file()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mean": [0.1, 0.1, 0.1]}, "was trained on images of another mean and deviation"),
        (
            {"network_args": {"act_layer": "gelu"}},
            "with network_args {'act_layer': 'gelu'}",
        ),
        ({"network": "resnet18"}, "is of resnet18 with network_args"),
        ({"fits": "the network of protocol x"}, "which fits the network of protocol x"),
    ],
)
def test_a_guide_of_another_network_or_other_colours_is_refused(
    scored: tuple[Cli, str], tmp_path: Path, change: dict[str, object], told: str
) -> None:
    kept, path = scored[0].folder / "networks" / NAME, tmp_path / "other.safetensors"
    with safe_open(kept, framework="pt") as file:
        facts = json.loads(file.metadata()["about"])
    config = FeedbackClassifier(network="test_resnet", size=32, checkpoint=str(path))
    save_file(load_file(kept), path, {"about": json.dumps(facts)})
    open_guide(config, path, 10, "cpu")
    save_file(load_file(kept), path, {"about": json.dumps(facts | change)})
    with pytest.raises(GeneratorError, match=re.escape(told)):
        open_guide(config, path, 10, "cpu")


def test_no_other_file_is_replaced(scored: tuple[Cli, str], flat_release: Path, cli: Cli) -> None:
    path = cli.folder / "networks" / NAME
    path.parent.mkdir()
    path.write_bytes(b"mine")
    words = ("eval", flat_release, "--protocol", "digits-lt", *KEPT)
    result = cli(*words)
    assert result.exit_code == 1
    assert f"networks/{NAME}: is there, and is no network of a score; name another folder" in result.output
    assert path.read_bytes() == b"mine"
    shutil.copy(scored[0].folder / "networks" / NAME, path)
    before = path.read_bytes()
    result = cli(*words)
    assert result.exit_code == 1
    assert f"networks/{NAME}: is there, and is of protocol digits-lt as it was set then" in result.output
    assert path.read_bytes() == before


def test_the_words_for_a_guide_survive_any_folder(tmp_path: Path) -> None:
    protocol = load_protocol("digits-lt", QUICK)
    kept = KeptWeights(tmp_path / "my net, it's {x}: [y]", "small")
    kept.folder.mkdir()
    facts = {"fits": "timm", "network_args": {}}
    save_file({"x": torch.zeros(1)}, kept.path(0), {"about": json.dumps(facts)})
    *_, line = told_weights(kept, [0], protocol)
    *_, setting = shlex.split(line)
    found = load(Cli(tmp_path).recipe(), ["sampler.feedback.scale=3", setting]).sampler.feedback
    assert found is not None
    assert found.classifier.checkpoint == str(kept.path(0))


def test_a_folder_that_cannot_be_is_told_before_anything_is_trained(cli: Cli, flat_release: Path) -> None:
    (cli.folder / "file").write_text("")
    words = ("--protocol", "digits-lt", "--real-only", "--weights", "file")
    told = cli("eval", flat_release, *words)
    assert told.exit_code == 1
    assert told.output.splitlines()[-1] == "error: --weights file: is a file; name a folder"
    assert "training" not in told.output.replace("training images", "")


def test_a_network_of_a_stopped_scoring_is_not_taken_for_that_of_the_next(
    cli: Cli, flat_release: Path, scored: tuple[Cli, str]
) -> None:
    evaluate_and_tell(cli, flat_release, *KEPT)
    left = next(cli.folder.glob(".synthkit/eval/*/seed-0.network.safetensors"))
    # As a kill leaves it: a network, and no finished run. The next scoring keeps none.
    left.write_bytes(b"of an earlier epoch")
    left.with_name("seed-0.json").unlink()
    evaluate_and_tell(cli, flat_release, "--real-only", "--seeds", "1")
    assert not left.exists()
    evaluate_and_tell(cli, flat_release, *KEPT)
    assert (cli.folder / "networks" / NAME).read_bytes() == (
        scored[0].folder / "networks" / NAME
    ).read_bytes()


def test_a_network_of_a_training_that_was_begun_again_and_stopped_is_not_handed_out(
    cli: Cli, flat_release: Path, scored: tuple[Cli, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthkit_eval.training import train as training

    evaluate_and_tell(cli, flat_release, "--real-only", "--seeds", "1")
    save, epochs = training.save_weights, []

    def stopped(*arguments: Any) -> None:
        save(*arguments)
        epochs.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_weights", stopped)
    words = ("--protocol", "digits-lt", "--features", "none", "--device", "cpu", *flags(*QUICK))
    assert cli("eval", flat_release, *words, *KEPT, "--out", "score.json").exit_code == 130
    monkeypatch.undo()
    evaluate_and_tell(cli, flat_release, *KEPT)
    here, there = (one.folder / "networks" / NAME for one in (cli, scored[0]))
    assert epochs and here.read_bytes() == there.read_bytes()


def test_a_folder_inside_the_release_and_a_file_of_a_stranger_are_refused(
    cli: Cli, flat_release: Path, scored: tuple[Cli, str], tmp_path: Path
) -> None:
    words = ("--protocol", "digits-lt", "--real-only", "--weights", flat_release / "networks")
    assert "is inside the release, which holds nothing else" in cli("eval", flat_release, *words).output
    path = tmp_path / "deep.safetensors"
    save_file(load_file(scored[0].folder / "networks" / NAME), path, {"about": "[" * 200_000})
    open_guide(FeedbackClassifier(network="test_resnet", size=32, checkpoint=str(path)), path, 10, "cpu")
    kept = scored[0].folder / "networks" / NAME
    with pytest.raises(GeneratorError, match="was trained on images of 32 pixels"):
        open_guide(FeedbackClassifier(network="test_resnet", size=64, checkpoint=str(kept)), kept, 10, "cpu")
