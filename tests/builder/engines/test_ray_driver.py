"""What is said of a cluster without room, without a cluster."""

from __future__ import annotations

import pytest

from synthkit.builder.engines import ray_driver
from synthkit.builder.engines.ray_driver import _Actors
from synthkit.builder.options import Options
from synthkit.errors import BuildError


class Ray:
    """A cluster of one CPU."""

    def __init__(self) -> None:
        self.asked = 0

    def cluster_resources(self) -> dict[str, float]:
        self.asked += 1
        return {"CPU": 1}


def test_a_cluster_is_asked_what_it_has_only_to_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(ray_driver.stopping, "say", said.append)
    ray = Ray()
    actors = _Actors(ray, None, Options(workers=2, timeout=60), "mark", "cpu")  # type: ignore[arg-type]
    for waited in (0, 1, 14, 16, 20, 59):
        actors._check_room(waited)
    assert ray.asked == 1
    assert said == ["waiting for a node with a free CPU; the cluster has 1 CPUs, 0 GPUs, used ones included"]
    with pytest.raises(BuildError, match=r"came up within 60 s \(the cluster has 1 CPUs, 0 GPUs"):
        actors._check_room(61)
