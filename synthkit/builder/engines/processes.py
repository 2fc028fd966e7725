"""Runs shards in worker processes of this machine, one for each device.

Shards are handed out one at a time to whoever is free. The shard of a worker that dies, or shows no
sign of life, goes to another, which takes its place.
"""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (orders for the processes that this one starts)
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from synthkit.builder.engines.job import to_need_less_memory
from synthkit.builder.engines.process import STOP, Orders
from synthkit.errors import BuildError
from synthkit.release.files import shard_name
from synthkit.release.shards import remove_half_written
from synthkit.system import stopping
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job

_LOOK_EVERY_S = 0.5
# How long a worker may take to end that was killed.
_PATIENCE_S = 5.0
# Workers that may die over one shard, or before they are ready, until the build gives up.
_DEATHS = 3
_COMMAND = "from synthkit.builder.engines.process import main; main()"


@dataclass(slots=True)
class _Worker:
    """A process at work: on which device and shard, what it kept and made of it, when it was last heard.

    An idle one waits for a shard.
    """

    device: str
    process: subprocess.Popen[bytes]
    connection: Connection
    shard: int | None = None
    kept: int = 0
    made: int = 0
    idle: bool = False
    heard: float = field(default_factory=time.monotonic)


def run(job: Job, devices: Sequence[str], lock: Path, display: Display) -> None:
    """Make a job's shards with one worker for each device. Raises Stopped if asked to stop.

    Raises BuildError when workers keep dying, and whatever error a worker meets.
    """
    orders = Orders(job, len(devices), lock)
    with stopping.gracefully(), tempfile.TemporaryFile() as stream:
        # In a file, since a worker that hangs before it reads a pipe would make us hang as well.
        pickle.dump(orders, stream)
        stream.flush()
        pool = _Pool(job, stream.fileno(), display)
        try:
            for device in devices:
                pool.start(device)
            pool.run()
        finally:
            pool.close()


class _Pool:
    def __init__(self, job: Job, orders: int, display: Display) -> None:
        self._job, self._orders, self._display = job, orders, display
        self._todo = deque(job.missing)
        self._left = len(job.missing)
        self._workers: list[_Worker] = []
        # By shard; by device of those that were not ready yet.
        self._deaths: Counter[int | str] = Counter()
        self._failure: Exception | None = None
        self._told = False

    def start(self, device: str) -> None:
        """One worker more."""
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (this very interpreter)
                [sys.executable, "-P", "-c", _COMMAND, str(theirs.fileno()), str(self._orders), device],
                pass_fds=(theirs.fileno(), self._orders),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._workers.append(_Worker(device, process, ours))

    def run(self) -> None:
        """Until all shards are made, or all workers have stopped."""
        while self._left and self._workers:
            connections = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(connections), _LOOK_EVERY_S):
                self._hear(connections[connection])  # type: ignore[index]
            self._look_after()
            if stopping.requested() or self._failure is not None:
                self._tell_all_to_stop()
        if self._failure is not None:
            raise self._failure
        if self._left:
            raise Stopped

    def close(self) -> None:
        """No worker outlives the build."""
        for worker in self._workers:
            _end(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            word, *detail = worker.connection.recv()
        except (EOFError, OSError):
            self._lost(worker, "")
            return
        worker.heard = time.monotonic()
        match word, detail:
            case "embedded", [images, total]:
                self._display.embedded(images, total)
            case "kept", [images]:
                worker.kept = images
                self._display.kept(images)
            case "made", [images]:
                worker.made += images
                self._display.made(images)
            case "free", _:
                self._deaths[worker.device] = 0
                self._hand_out(worker)
            case "done", _:
                self._left -= 1
                self._hand_out(worker)
            case "failed", [error]:
                self._failure = self._failure or error

    def _hand_out(self, worker: _Worker) -> None:
        worker.shard, worker.kept, worker.made, worker.idle = None, 0, 0, True
        if self._todo and not self._told:
            worker.shard, worker.idle = self._todo.popleft(), False
            worker.heard = time.monotonic()
            _tell(worker, worker.shard)

    def _look_after(self) -> None:
        for worker in list(self._workers):
            silent = time.monotonic() - worker.heard > self._job.timeout
            if silent and not worker.idle:
                self._lost(worker, f"showed no sign of life for {self._job.timeout:g} s")

    def _tell_all_to_stop(self) -> None:
        if not self._told:
            self._told = True
            for worker in self._workers:
                _tell(worker, STOP)

    def _lost(self, worker: _Worker, why: str) -> None:
        """A worker's end: its shard is made again, by another in its place."""
        self._workers.remove(worker)
        code = _end(worker)
        if self._told or self._failure is not None:
            return
        why = why or (f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}")
        if not self._goes_on(worker):
            self._failure = BuildError(self._give_up(worker.shard, why))
            return
        self._display.lost(worker.kept, worker.made)
        if worker.shard is not None:
            remove_half_written(self._job.folder, shard_name(worker.shard, self._job.inputs.plan.shards))
            self._todo.appendleft(worker.shard)
        self._replace(worker, why)

    def _goes_on(self, worker: _Worker) -> bool:
        """Count a death, of an idle worker excepted; whether to go on all the same."""
        if worker.idle:
            return True
        what = worker.device if worker.shard is None else worker.shard
        self._deaths[what] += 1
        # A device on which none gets ready is given up as long as there are others.
        return self._deaths[what] < _DEATHS or (worker.shard is None and bool(self._workers))

    def _replace(self, worker: _Worker, why: str) -> None:
        idle = next((other for other in self._workers if other.idle), None)
        # The last one is always replaced, or shards would be left that nobody makes.
        given_up = self._deaths[worker.device] >= _DEATHS and bool(self._workers)
        if idle is not None:
            self._hand_out(idle)
        elif self._todo and not given_up:
            self.start(worker.device)
        then = "no more are started there" if given_up else "another takes its place"
        stopping.say(f"a worker on {worker.device} {why}; {then}")

    def _give_up(self, shard: int | None, why: str) -> str:
        what = "workers" if shard is None else shard_name(shard, self._job.inputs.plan.shards)
        doing = "getting ready" if shard is None else "making it"
        advice = to_need_less_memory(self._job.inputs)
        return (
            f"{what}: {_DEATHS} workers in a row did not survive {doing}; the last {why}. Signal 9 is mostly "
            f"the system's, for want of memory: {advice}. What is finished is kept"
        )


def _end(worker: _Worker) -> int:
    """Kill a worker that may have ended by itself; returns its exit code."""
    worker.connection.close()
    worker.process.kill()
    try:
        return worker.process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL  # It waits for a device or a disk, and ends when that answers.


def _tell(worker: _Worker, what: Any) -> None:
    try:
        worker.connection.send(what)
    except OSError:
        return  # Its end will be heard of.
