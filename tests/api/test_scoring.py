"""Scoring and comparing from Python: the same scores and tables as the commands."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

import synthkit
from synthkit.errors import ScoreError
from synthkit_eval.score_files import read_score
from tests.conftest import Cli
from tests.helpers.scoring import QUICK, flags

QUICKLY = {"network": "test_resnet", "network_args": {}, "epochs": 2}
OPTIONS: dict[str, Any] = {"protocol": "digits-lt", "seeds": 1, "features": "none", "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scoring")


@pytest.fixture(scope="module")
def evaluated(place: Path, flat_release: Path) -> synthkit.Evaluated:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        threads, state = torch.get_num_threads(), torch.random.get_rng_state()
        found = synthkit.evaluate(flat_release, QUICKLY, **OPTIONS, weights="networks")
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.random.get_rng_state(), state)
    return found


@pytest.fixture(autouse=True)
def in_its_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def test_a_score_is_the_one_of_the_command(
    evaluated: synthkit.Evaluated, flat_release: Path, place: Path
) -> None:
    assert evaluated.path.parts[0] == "scores"
    assert (place / "networks/small-seed-0.safetensors").is_file()
    assert evaluated.score == read_score(evaluated.path)
    assert 0 <= evaluated.accuracy == evaluated.score.accuracy.overall.mean <= 1
    words = ["--protocol", "digits-lt", "--seeds", "1", "--features", "none", "--device", "cpu"]
    result = Cli(place)("eval", flat_release, *words, *flags(*QUICK))
    # It finds the run that is there, so that even the seconds are the same.
    assert result.output.endswith(f"{evaluated}\nScore: {evaluated.path}\n")
    assert str(evaluated).startswith("small, trained on real and synthetic images by digits-lt (test_resnet")
    assert repr(evaluated) == f"Evaluated(path={evaluated.path!r})"


def test_a_protocol_may_be_a_mapping(evaluated: synthkit.Evaluated, flat_release: Path) -> None:
    settings = evaluated.score.protocol.settings
    options = OPTIONS | {"protocol": settings}
    assert (
        synthkit.evaluate(flat_release, **options, out="own.json").score.accuracy == evaluated.score.accuracy
    )
    with pytest.raises(ScoreError, match=r"protocol: epochs: must be at least 1, is 0"):
        synthkit.evaluate(flat_release, **options | {"protocol": settings | {"epochs": 0}})


def test_scores_are_compared_as_by_the_command(evaluated: synthkit.Evaluated, place: Path) -> None:
    compared = synthkit.compare(evaluated)
    printed = Cli(place)("compare", evaluated.path).output
    assert f"{compared}\n" == printed
    assert str(synthkit.compare("small")) == str(synthkit.compare(Path("scores"))) == str(compared)
    assert repr(compared) == "<comparison of 1 score(s) in 1 section(s)>"
    table = compared.to_pandas()
    assert table.loc[0, "name"] == "small"
    assert table.loc[0, "overall"] == pytest.approx(100 * evaluated.accuracy)
    compared.write(Path("tables/scores.md"))
    assert Path("tables/scores.md").read_text().startswith("### digits-lt")
    drawn = compared.draw(Path("plots"))
    assert drawn.names == []
    assert "groups: not drawn: it takes two scores that compare" in drawn.left_out


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda it: synthkit.evaluate(it, seeds=0), "seeds: is 0; give a whole number from 1 to 1,000"),
        (lambda it: synthkit.evaluate(it, protocol="digits-l"), "did you mean digits-lt"),
        (lambda it: synthkit.evaluate(it, protocol=3), "protocol: is 3; give a name, a path or a mapping"),
        (lambda it: synthkit.evaluate(it, {"epoch": 2}, protocol="digits-lt"), "epoch: unknown key"),
        (lambda it: synthkit.evaluate(it, ["epochs=2"]), "overrides: is ['epochs=2']; give a mapping"),
        (lambda it: synthkit.evaluate(it, out="score.txt"), "end its name in .json"),
        (lambda it: synthkit.evaluate(it, device="gpu", protocol="digits-lt"), "--device gpu"),
        (synthkit.evaluate, "small: say how to score it: --protocol"),
        (lambda it: synthkit.evaluate("nowhere", protocol="digits-lt"), "nowhere: there is no such folder"),
        (lambda it: synthkit.compare(), "scores: there are none"),
        (lambda it: synthkit.compare("nothing"), "nothing: there is no score of it in scores"),
        (lambda it: synthkit.compare(""), "scores: is ''; no file or folder has such a name"),
        (lambda it: synthkit.compare(4), "scores: is 4; give a path"),
        (lambda it: synthkit.compare(["a.json", "b.json"]), "scores: is a list; give each as an argument"),
        (lambda it: synthkit.compare("scores", contrasts="no.yaml"), "no.yaml: there is no such study file"),
    ],
)
def test_mistakes_are_told(call: Any, told: str, flat_release: Path, evaluated: synthkit.Evaluated) -> None:
    with pytest.raises(synthkit.SynthkitError) as raised:
        call(flat_release)
    assert told in str(raised.value)


def test_several_processes_are_left_to_the_command(
    flat_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", str(random.random()))
    with pytest.raises(ScoreError, match="works in one process; under torchrun use the command"):
        synthkit.evaluate(flat_release, **OPTIONS)
