"""Who is given up on, without a cluster: actors that answer what a test has them answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from synthkit.builder.engines import ray_driver
from synthkit.builder.engines.ray_driver import RayJob, _Pool, _Worker
from synthkit.builder.options import Options
from synthkit.errors import BuildError


class Display:
    def lost(self, kept: int, made: int) -> None:
        pass


class Ray:
    """A cluster of one CPU."""

    def __init__(self) -> None:
        self.asked = 0

    def kill(self, actor: Any) -> None:
        pass

    def cluster_resources(self) -> dict[str, float]:
        self.asked += 1
        return {"CPU": 1}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(ray_driver.stopping, "say", lines.append)
    return lines


@pytest.fixture
def pool(said: list[str]) -> _Pool:
    recipe = SimpleNamespace(sampler=SimpleNamespace(batch_size=8))
    facts: Any = SimpleNamespace(plan=SimpleNamespace(shards=9), recipe=recipe)
    job = RayJob(facts, tuple(range(9)), "/shared", "mark", lambda environment: None)  # type: ignore[arg-type,return-value]
    return _Pool(Ray(), job, Options(workers=2, timeout=60), Display(), "cpu")  # type: ignore[arg-type]


def die(pool: _Pool, times: int, why: str = "died", shard: int | None = None) -> None:
    for _ in range(times):
        worker = _Worker(actor=None, task=None, node="bad", shard=shard)
        pool._workers.append(worker)
        pool._lost(worker, why)


def test_a_build_gives_up_on_actors_that_do_not_get_ready(pool: _Pool) -> None:
    with pytest.raises(BuildError, match="3 actors in a row did not survive getting ready; the last died"):
        die(pool, 3)


def test_it_does_not_while_others_work(pool: _Pool, said: list[str]) -> None:
    pool._workers.append(_Worker(actor=None, task=None, node="good", shard=4))
    die(pool, 9)
    assert said == ["an actor on bad died; another takes its place"] * 9
    with pytest.raises(BuildError, match=r"train-00005-of-00009.tar: 3 actors in a row did not survive"):
        die(pool, 3, shard=5)


def test_actors_lost_with_their_nodes_do_not_count(pool: _Pool) -> None:
    die(pool, 9, "was lost with its node")
    die(pool, 2)


def test_a_cluster_is_asked_what_it_has_only_to_tell_it(pool: _Pool, said: list[str]) -> None:
    for waited in (0, 1, 14, 16, 20, 59):
        pool._check_room(waited)
    assert pool._ray.asked == 1
    assert said == ["waiting for a node with a free CPU; the cluster has 1 CPUs, 0 GPUs, used ones included"]
    with pytest.raises(BuildError, match=r"came up within 60 s \(the cluster has 1 CPUs, 0 GPUs"):
        pool._check_room(61)
