"""An actor without its cluster: where it keeps what it makes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from synthkit.builder.engines import ray_actor
from synthkit.builder.engines.ray_actor import Actor, Orders
from synthkit.builder.inputs import read_inputs
from synthkit.recipe.load import load
from synthkit.system.environment import NO_DEVICE
from tests.conftest import Cli

FLAT = "model.id=builtin:flat-colours"


def test_a_preview_keeps_embeddings_of_its_own(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_actor, "scratch", lambda: tmp_path)
    recipe = load(cli.recipe(), [FLAT])
    (tmp_path / "mark").touch()
    for limit in (5, None):
        digest = read_inputs(recipe, tmp_path, limit=limit).digest
        orders = Orders(recipe.model_dump_json(), limit, digest, {}, str(tmp_path), "mark", b"", b"")
        Actor(os.getcwd(), NO_DEVICE).prepare(orders)  # noqa: PTH109
    assert len(list((tmp_path / "embeddings").glob("*.npy"))) == 2


def test_what_dead_processes_left_is_removed_also_where_there_is_no_proc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.parent != Path("/proc") and there(path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    numbers = {1, os.getppid(), dead.pid}
    for number in numbers:
        (tmp_path / f"shards-{number}").mkdir()
    own = ray_actor._own_folder(tmp_path)
    alive = numbers - {dead.pid} | {os.getpid()}
    assert {path.name for path in tmp_path.iterdir()} == {f"shards-{number}" for number in alive}
    assert own.name == f"shards-{os.getpid()}"
