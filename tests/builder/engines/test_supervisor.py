"""Who is given up on, whoever the workers are: a transport whose workers do what a test has them do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from synthkit.builder.engines.display import Display
from synthkit.builder.engines.supervisor import Supervisor, Worker
from synthkit.errors import BuildError
from synthkit.system import stopping

SHARDS, IMAGES = 9, 4


class Script:
    """Workers that are ready at once and finish every shard, but for what a test says."""

    memory = "Memory is a usual reason"

    def __init__(self, kind: str, lasting: bool) -> None:
        self.kind, self.lasting = kind, lasting
        self.started: list[str] = []
        self.made: list[int] = []
        self.ended: list[Worker] = []
        self.asked: list[Worker] = []
        self.misfortune: Callable[[Supervisor[Worker], Worker], bool] = lambda team, worker: False

    def start(self, place: str) -> Worker:
        self.started.append(place)
        return Worker(place, place)

    def give(self, worker: Worker, shard: int) -> None:
        pass

    def listen(self, team: Supervisor[Worker], seconds: float) -> None:
        for worker in list(team.workers):
            if worker not in team.workers or self.misfortune(team, worker):
                continue
            if not worker.ready:
                team.ready(worker)
            elif worker.shard is not None:
                self.made.append(worker.shard)
                team.done(worker)

    def ask_to_stop(self, worker: Worker) -> bool:
        self.asked.append(worker)
        return False

    def end(self, worker: Worker) -> str:
        self.ended.append(worker)
        return "fell"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(stopping, "say", lines.append)
    return lines


def supervisor(script: Script, places: list[str], timeout: float = 60) -> Supervisor[Worker]:
    job: Any = SimpleNamespace(
        missing=tuple(range(SHARDS)),
        images_in=lambda shard: IMAGES,
        name=lambda shard: f"shard {shard}",
        less_memory="use fewer --workers",
    )
    return Supervisor(job, script, places, timeout, Display(SHARDS * IMAGES, 0))


def dies(*, ready: bool, shard: int | None = None, times: int = 1000, place: str = "", **how: Any) -> Any:
    """Workers die, so many times: those that are getting ready, or one that makes a shard, at some place."""
    left = [times]

    def misfortune(team: Supervisor[Worker], worker: Worker) -> bool:
        hit = worker.ready is ready and (shard is None or worker.shard == shard)
        if not hit or not worker.place.startswith(place) or not left[0]:
            return False
        left[0] -= 1
        team.lost(worker, **how)
        return True

    return misfortune


@pytest.fixture(params=[("worker", True), ("actor", False)])
def script(request: pytest.FixtureRequest) -> Script:
    return Script(*request.param)


def test_all_shards_are_made_once_and_nobody_is_left(script: Script, said: list[str]) -> None:
    team = supervisor(script, ["one", "two"])
    assert team.run() == 2
    assert sorted(script.made) == list(range(SHARDS))
    assert not team.workers and len(script.ended) == 2
    assert said == []


def test_two_deaths_over_a_shard_are_made_good(script: Script, said: list[str]) -> None:
    script.misfortune = dies(ready=True, shard=5, times=2)
    supervisor(script, ["here"]).run()
    assert sorted(script.made) == list(range(SHARDS))
    one = "a worker" if script.lasting else "an actor"
    assert said == [f"{one} on here fell; another takes its place"] * 2


def test_three_deaths_over_a_shard_end_the_build(script: Script, said: list[str]) -> None:
    script.misfortune = dies(ready=True, shard=5, why="went away")
    with pytest.raises(BuildError) as error:
        supervisor(script, ["one", "two"]).run()
    assert str(error.value) == (
        f"shard 5: 3 {script.kind}s in a row did not survive making it; the last went away. "
        "Memory is a usual reason: use fewer --workers. What is finished is kept"
    )
    assert script.asked


def test_nobody_getting_ready_ends_the_build(script: Script, said: list[str]) -> None:
    script.misfortune = dies(ready=False)
    with pytest.raises(
        BuildError, match=f"{script.kind}s: 3 .* did not survive getting ready; the last fell"
    ):
        supervisor(script, ["here"]).run()


def test_a_place_that_lasts_is_given_up_while_there_are_others(said: list[str]) -> None:
    script = Script("worker", lasting=True)
    script.misfortune = dies(ready=False, place="bad")
    supervisor(script, ["bad", "good"]).run()
    assert sorted(script.made) == list(range(SHARDS))
    assert script.started.count("bad") == 3
    assert said[-1] == "a worker on bad fell; no more are started there"


def test_places_that_come_and_go_are_not_given_up_while_others_work(said: list[str]) -> None:
    script = Script("actor", lasting=False)
    script.misfortune = dies(ready=False, place="bad", times=7)
    supervisor(script, ["good", "bad"]).run()
    assert said == ["an actor on bad fell; another takes its place"] * 7


def test_workers_lost_with_their_place_do_not_count(said: list[str]) -> None:
    script = Script("actor", lasting=False)
    script.misfortune = dies(ready=False, times=9, why="was lost with its node", by_itself=False)
    supervisor(script, ["here"]).run()
    assert sorted(script.made) == list(range(SHARDS))
    assert said == ["an actor on here was lost with its node; another takes its place"] * 9


def test_a_silent_worker_is_replaced(script: Script, said: list[str]) -> None:
    silent: list[Worker] = []

    def misfortune(team: Supervisor[Worker], worker: Worker) -> bool:
        if worker.shard == 3 and not silent:
            silent.append(worker)
            worker.heard -= 61
        return worker in silent

    script.misfortune = misfortune
    supervisor(script, ["one", "two"]).run()
    assert sorted(script.made) == list(range(SHARDS))
    assert silent[0] in script.ended
    assert said[0].endswith("showed no sign of life for 60 s; another takes its place")


def test_who_has_nothing_to_do_takes_over_or_is_let_go(script: Script, said: list[str]) -> None:
    """The last shard's worker dies when the other one has nothing left."""
    last = SHARDS - 1

    def misfortune(team: Supervisor[Worker], worker: Worker) -> bool:
        if worker.shard != last or said:
            return False
        if len(script.made) == last:
            team.lost(worker)
        return True

    script.misfortune = misfortune
    supervisor(script, ["one", "two"]).run()
    assert sorted(script.made) == list(range(SHARDS))
    assert len(script.started) == (2 if script.lasting else 3)


def test_images_are_counted_once(script: Script, said: list[str]) -> None:
    counted = Display(SHARDS * IMAGES, 0)

    def misfortune(team: Supervisor[Worker], worker: Worker) -> bool:
        if worker.shard != 4 or said:
            return False
        team.progress(worker, 1, 2)
        team.lost(worker)
        return True

    script.misfortune = misfortune
    team = supervisor(script, ["one", "two"])
    team._display = counted
    team.run()
    assert counted.images == SHARDS * IMAGES
    assert counted.lost_images == 3


def test_a_worker_that_rests_is_not_taken_for_silent(said: list[str]) -> None:
    script = Script("worker", lasting=True)

    rounds = iter(range(3))

    def rests(team: Supervisor[Worker], worker: Worker) -> bool:
        if worker.ready and worker.shard is None:
            # As after a message that comes late.
            worker.heard = -1e9
        return worker.shard == SHARDS - 1 and next(rounds, None) is not None

    script.misfortune = rests
    supervisor(script, ["one", "two"]).run()
    assert script.started == ["one", "two"]
    assert said == []


def test_a_death_before_the_first_shard_shows_no_progress(
    script: Script, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[int, int]] = []
    monkeypatch.setattr(Display, "lost", lambda display, kept, made: shown.append((kept, made)))
    script.misfortune = dies(ready=False, times=1)
    supervisor(script, ["here"]).run()
    assert len(said) == 1
    assert shown == []
