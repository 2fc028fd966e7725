"""A command dies, or its disk fails, at any call that changes a file: the same command completes it."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import digests
from tests.helpers.hub_server import HubServer
from tests.helpers.project import Project
from tests.helpers.scoring import QUICK, flags
from tests.helpers.stage import BUILD, RELEASE, SCENES, Scene, Stage, check_states, flat_stage
from tests.helpers.warm import Warm

ERRORS = {errno.ENOSPC: "No space left on device", errno.EIO: "Input/output error"}
PULL = Scene("pull", ("pull", "lab/flat@v1.0.0"))
# By default, how many states of a scene are completed; of every twentieth call, and of those that count.
SAMPLES = {"build": 1, "summary": 2, "merge": 1, "audit": 1, "init": 1}


@pytest.fixture
def pull(hub: HubServer, quick: Warm, tmp_path: Path) -> Stage:
    """A release on the Hub that is to be pulled."""
    stage = flat_stage(Scene("published", BUILD), tmp_path / "published", quick)
    assert stage.after
    release = stage.folder / "undisturbed" / RELEASE
    hub.add_repo("lab/flat", files={name: (release / name).read_bytes() for name in digests(release)})
    repository = hub.store.get("dataset", "lab/flat")
    repository.tags["v1.0.0"] = repository.branches["main"]
    return flat_stage(PULL, tmp_path / "pull", quick)


def try_deaths(stage: Stage, *, every: int = 1, sample: int | None = None) -> None:
    calls = stage.record(every)
    states = check_states(stage, calls)
    chosen = states
    if sample is not None:
        chosen = random.Random(stage.scene.name).sample(states, min(sample, len(states)))
    for state in chosen:
        stage.complete(state)
        shutil.rmtree(state)
    last = calls[-1]["call"] - 1
    print(f"{stage.scene.name}: {last} calls, {len(states)} states, {len(chosen)} completed")


def try_errors(stage: Stage, numbers: Iterable[int]) -> None:
    """One call fails: that is told in a line, or nothing depends on it."""
    for number in numbers:
        code = (errno.ENOSPC, errno.EIO)[number % 2]
        folder = stage.copy(f"failing-{number}")
        result, told = stage.ran(stage.scene.command, folder, what="fail", call=number, errno=code)
        assert result in (0, 1), (number, told)
        assert "Traceback" not in told, (number, told)
        stage.check_reader(folder)
        if result == 1:
            errors = [line for line in told.splitlines() if line.startswith("error: ")]
            assert told.rstrip().splitlines()[-1:] == errors, (number, told)
            assert ERRORS[code] in errors[0], (number, told)
        stage.complete(folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name",
    [
        "summary",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("build", "merge", "audit", "init")),
    ],
)
def test_what_a_death_leaves_is_completed(name: str, tmp_path: Path, quick: Warm) -> None:
    try_deaths(flat_stage(SCENES[name], tmp_path, quick), every=20, sample=SAMPLES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_what_a_death_at_any_call_leaves_is_completed(name: str, tmp_path: Path, quick: Warm) -> None:
    try_deaths(flat_stage(SCENES[name], tmp_path, quick))


def test_what_a_death_leaves_of_a_pull_is_completed(pull: Stage) -> None:
    try_deaths(pull, every=40, sample=2)


@pytest.mark.slow
def test_what_a_death_at_any_call_leaves_of_a_pull_is_completed(pull: Stage) -> None:
    try_deaths(pull)


@pytest.mark.parametrize(("name", "number"), [("summary", 47)])
def test_a_call_that_fails_is_told_and_the_same_command_completes(
    name: str, number: int, tmp_path: Path, quick: Warm
) -> None:
    try_errors(flat_stage(SCENES[name], tmp_path, quick), [number])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_any_call_that_fails_is_told_and_the_same_command_completes(
    name: str, tmp_path: Path, quick: Warm
) -> None:
    stage = flat_stage(SCENES[name], tmp_path, quick)
    try_errors(stage, range(1, stage.record(every=10**6)[-1]["call"]))


@pytest.mark.slow
def test_any_call_of_a_pull_that_fails_is_told_and_it_completes(pull: Stage) -> None:
    try_errors(pull, range(1, pull.record(every=10**6)[-1]["call"]))


def try_stops(stage: Stage, numbers: Iterable[int]) -> None:
    for number in numbers:
        folder = stage.copy(f"stopped-{number}")
        code, told = stage.ran(stage.scene.command, folder, what="interrupt", call=number)
        assert code == 130, told
        assert told.endswith("stopped; what is finished is kept, and the same command goes on\n")
        stage.complete(folder)


@pytest.mark.parametrize(("name", "number"), [("audit", 30)])
def test_a_stop_exits_130_and_the_same_command_goes_on(
    name: str, number: int, tmp_path: Path, quick: Warm
) -> None:
    try_stops(flat_stage(SCENES[name], tmp_path, quick), [number])


def test_a_pull_that_is_stopped_goes_on(pull: Stage) -> None:
    try_stops(pull, [60])


@pytest.mark.slow
def test_a_scoring_that_dies_at_any_call_ends_the_same(
    small_release: Path, tmp_path: Path, quick: Warm
) -> None:
    words = ("--protocol", "digits-lt", "--features", "none", "--device", "cpu", "--seeds", "1")
    command = ("eval", "small", *words, *flags(*QUICK), "--out", "scores/a.json", "--report", "scores/b.json")
    stage = Stage(Scene("eval", command, (), "scores/b.json"), tmp_path, quick)
    shutil.copytree(small_release, stage.begin / "small")
    calls = stage.record()
    states = check_states(stage, calls)
    for state in states:
        stage.complete(state)
        assert not list(state.glob(".synthkit/eval/*/*.safetensors"))
    print(f"eval: {calls[-1]['call'] - 1} calls, {len(states)} states completed")


@pytest.mark.slow
def test_a_release_that_is_recorded_and_dies_at_any_call_is_recorded(tmp_path: Path) -> None:
    """As far as the process itself goes; DVC and git have their own."""
    (tmp_path / "home").mkdir()
    project = Project(tmp_path / "begin", dict(os.environ))
    project.start()
    project.edit(".gitignore", "/releases/", "/releases/\n/printed-*")
    project.commit("What tests print")
    project("synthkit", "release", "small", "--tag")
    project.edit("params.yaml", "version: 1.0.0", "version: 1.1.0")
    project.commit("Raise the version")
    project("dvc", "repro", "verify@small")
    scene = Scene("release", ("release", "small"), (), "changelog/small.yaml")
    with Warm(("synthkit.versions.changelog", "pyarrow.parquet", "dvc.api"), project.environment) as warm:
        stage = Stage(scene, tmp_path, warm)
        calls = stage.record()
        states = check_states(stage, calls)
        for state in states:
            stage.complete(state)
        assert len(states) > 2
        print(f"release: {calls[-1]['call'] - 1} calls, {len(states)} states completed")
