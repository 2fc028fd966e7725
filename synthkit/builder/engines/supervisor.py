"""Shares the shards of a job among workers: one way for all engines, whatever their workers are.

Shards are handed out one at a time to whoever is free. The shard of a worker that dies, or shows no sign of
life, goes to another. Workers that keep dying over one shard, or before they are ready, end the build.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from synthkit.errors import BuildError
from synthkit.system import stopping
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job

LOOK_EVERY_S = 0.5
# Workers that may die over one shard, or at one place before they are ready, until it is given up.
_DEATHS = 3


@dataclass(slots=True, eq=False)
class Worker:
    """A process or an actor that makes shards.

    `place` is what it was started for, `where` names that place for a user, once it is known. `kept` and
    `made` count the images of its shard that an earlier build made, and those made now. `heard` is when it
    last showed a sign of life (`time.monotonic`); infinity while none is due.
    """

    place: str
    where: str = ""
    ready: bool = False
    shard: int | None = None
    kept: int = 0
    made: int = 0
    heard: float = math.inf


W = TypeVar("W", bound=Worker)


class Transport(Protocol[W]):
    """Starts workers of one kind, talks with them and ends them.

    `kind` is what a user calls a worker, `memory` tells how a want of memory shows.

    `lasting` is true if the places are few and stay. Then a worker without a shard is kept, to take over
    from one that dies, and a place where three workers do not get ready is given up while others are left.
    If places come and go, a worker without a shard is let go, and one that dies while it gets ready is not
    counted while others are at work, or if its place was lost with it.
    """

    kind: ClassVar[str]
    memory: ClassVar[str]
    lasting: ClassVar[bool]

    def start(self, place: str) -> W:
        """Start a worker; it gets ready by itself."""
        ...

    def give(self, worker: W, shard: int) -> None:
        """Tell a worker to make a shard."""

    def listen(self, team: Supervisor[W], seconds: float) -> None:
        """Wait at most so long for messages of the team's workers, and call its methods with what they say.

        An error that is raised ends the build.
        """

    def ask_to_stop(self, worker: W) -> bool:
        """Ask a worker to end after the batch under way; False if its kind cannot."""
        ...

    def end(self, worker: W) -> str:
        """End a worker, if it has not ended by itself; returns how it ended, as far as that is known."""
        ...


class Supervisor(Generic[W]):
    """Has a job's shards made by workers, at most one at a time at each of some places."""

    def __init__(
        self, job: Job, transport: Transport[W], places: Iterable[str], timeout: float, display: Display
    ) -> None:
        self.workers: list[W] = []
        self._job, self._transport, self._timeout, self._display = job, transport, timeout, display
        self._free = deque(places)
        self._todo = deque(job.missing)
        self._left = len(job.missing)
        # By shard; by place, of those that were not ready yet.
        self._deaths: Counter[int | str] = Counter()
        self._shared: set[W] = set()
        self._failure: Exception | None = None
        self._stopping = False

    def run(self) -> int:
        """Work until all shards are made; returns how many workers had a share.

        Raises Stopped if the process was asked to stop, BuildError when workers keep dying, and whatever
        error a worker meets; the others finish their batch before, if their kind can. No worker is left.
        """
        try:
            while self._left:
                self._staff()
                if not self.workers:
                    break
                self._transport.listen(self, LOOK_EVERY_S)
                self._end_silent()
                if stopping.requested() or self._failure is not None:
                    self._ask_all_to_stop()
        finally:
            for worker in list(self.workers):
                self._let_go(worker)
        if self._failure is not None:
            raise self._failure
        if self._left:
            raise Stopped
        return len(self._shared)

    # What a transport passes on.

    def embedded(self, images: int, total: int) -> None:
        """Take note of real images that have an embedding now, of the total to embed."""
        self._display.embedded(images, total)

    def ready(self, worker: W) -> None:
        """Take note that a worker can make shards."""
        worker.ready = True
        self._deaths[worker.place] = 0
        self._hand_out(worker)

    def progress(self, worker: W, kept: int, made: int) -> None:
        """Take note of how many images of its shard a worker has now, kept and made."""
        self._display.kept(kept - worker.kept)
        self._display.made(made - worker.made)
        worker.kept, worker.made = kept, made

    def done(self, worker: W) -> None:
        """Take note that a worker's shard is finished."""
        if worker.shard is not None:
            self._left -= 1
            # The last counts may come late.
            self.progress(worker, worker.kept, self._job.images_in(worker.shard) - worker.kept)
        self._hand_out(worker)

    def failed(self, error: Exception) -> None:
        """Take note of an error that another worker would meet as well: it ends the build."""
        self._failure = self._failure or error

    def lost(self, worker: W, why: str = "", *, by_itself: bool = True) -> None:
        """Take note of a worker's death: its shard is made again, by another.

        Without `why`, the transport says how it ended; `by_itself` is False if its place was lost with it.
        """
        self.workers.remove(worker)
        ended = self._transport.end(worker)
        if self._stopping or self._failure is not None:
            return
        too_many = self._count_death(worker, by_itself=by_itself)
        others_do = self._transport.lasting and not worker.ready and bool(self.workers)
        if too_many and not others_do:
            self.failed(BuildError(self._too_many_deaths(worker, why or ended)))
            return
        if not too_many:
            self._free.append(worker.place)
        if worker.shard is not None:
            self._todo.appendleft(worker.shard)
            self._display.lost(worker.kept, worker.made)
        kind, where = self._transport.kind, worker.where or "a node"
        then = "no more are started there" if too_many else "another takes its place"
        stopping.say(f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} on {where} {why or ended}; {then}")

    def _staff(self) -> None:
        """Have as many workers as there is work for: those at rest first, then new ones."""
        if self._stopping:
            return
        for worker in self.workers:
            if self._todo and worker.ready and worker.shard is None:
                self._hand_out(worker)
        getting_ready = [worker for worker in self.workers if not worker.ready]
        if not self._transport.lasting:
            # The last started first: most likely it has no place yet.
            for worker in getting_ready[len(self._todo) :]:
                self._let_go(worker)
        for _ in range(min(len(self._todo) - len(getting_ready), len(self._free))):
            self.workers.append(self._transport.start(self._free.popleft()))

    def _hand_out(self, worker: W) -> None:
        worker.shard, worker.kept, worker.made, worker.heard = None, 0, 0, math.inf
        if self._todo and not self._stopping:
            worker.shard, worker.heard = self._todo.popleft(), time.monotonic()
            self._shared.add(worker)
            self._transport.give(worker, worker.shard)
        elif not self._transport.lasting:
            self._let_go(worker)

    def _let_go(self, worker: W) -> None:
        self.workers.remove(worker)
        self._free.append(worker.place)
        self._transport.end(worker)

    def _end_silent(self) -> None:
        for worker in list(self.workers):
            rests = worker.ready and worker.shard is None
            if not rests and time.monotonic() - worker.heard > self._timeout:
                self.lost(worker, f"showed no sign of life for {self._timeout:g} s")

    def _ask_all_to_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            for worker in list(self.workers):
                if not self._transport.ask_to_stop(worker):
                    self._let_go(worker)

    def _count_death(self, worker: W, *, by_itself: bool) -> bool:
        """Count a death by its shard or place, if it tells anything; return whether it is one too many."""
        over: int | str
        if worker.shard is not None:
            over = worker.shard
        elif worker.ready or (not self._transport.lasting and (not by_itself or self._at_work())):
            return False
        else:
            over = worker.place
        self._deaths[over] += 1
        return self._deaths[over] >= _DEATHS

    def _at_work(self) -> bool:
        return any(worker.shard is not None for worker in self.workers)

    def _too_many_deaths(self, worker: W, why: str) -> str:
        kinds = f"{self._transport.kind}s"
        what = kinds if worker.shard is None else self._job.name(worker.shard)
        doing = "getting ready" if worker.shard is None else "making it"
        return (
            f"{what}: {_DEATHS} {kinds} in a row did not survive {doing}; the last {why}. "
            f"{self._transport.memory}: {self._job.less_memory}. What is finished is kept"
        )
