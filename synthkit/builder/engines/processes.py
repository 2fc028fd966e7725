"""Worker processes of this machine, one for each device: how they are started, told and heard."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (orders for the processes that this one starts)
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, ClassVar

from synthkit.builder.engines.process import STOP, Orders
from synthkit.builder.engines.supervisor import Supervisor, Worker
from synthkit.release.shards import remove_half_written
from synthkit.system import stopping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.ready import Setup

# How long a worker may take to end that was killed.
_PATIENCE_S = 5.0
_COMMAND = "from synthkit.builder.engines.process import main; main()"


@dataclass(slots=True, eq=False, kw_only=True)
class _Process(Worker):
    process: subprocess.Popen[bytes]
    connection: Connection


def run(job: Job, setup: Setup, devices: Sequence[str], lock: Path, timeout: float, display: Display) -> int:
    """Make a job's shards with one process for each device, each of which holds `lock` as long as it lives.

    Returns and raises what `Supervisor.run` does.
    """
    with stopping.gracefully(), tempfile.TemporaryFile() as orders:
        # In a file, since a worker that hangs before it reads a pipe would make us hang as well.
        pickle.dump(Orders(setup, len(devices), lock), orders)
        orders.flush()
        return Supervisor(
            job, _Processes(job, setup.shards, orders.fileno()), devices, timeout, display
        ).run()


class _Processes:
    """The Transport of worker processes; `orders` is an open file that holds what they are told first."""

    kind: ClassVar[str] = "worker"
    memory: ClassVar[str] = "Signal 9 is mostly the system's, for want of memory"
    lasting: ClassVar[bool] = True

    def __init__(self, job: Job, shards: Path, orders: int) -> None:
        self._job, self._shards, self._orders = job, shards, orders

    def start(self, place: str) -> _Process:
        """Start a process for a device."""
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (this very interpreter)
                [sys.executable, "-P", "-c", _COMMAND, str(theirs.fileno()), str(self._orders), place],
                pass_fds=(theirs.fileno(), self._orders),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        return _Process(place, place, heard=time.monotonic(), process=process, connection=ours)

    def give(self, worker: _Process, shard: int) -> None:
        """Send the number of a shard."""
        _tell(worker, shard)

    def listen(self, team: Supervisor[_Process], seconds: float) -> None:
        """Pass on one message of each worker that sent any."""
        connections = {worker.connection: worker for worker in team.workers}
        for connection in wait(list(connections), seconds):
            _hear(connections[connection], team)  # type: ignore[index]

    def ask_to_stop(self, worker: _Process) -> bool:
        """Ask for the end after the batch under way, which is kept as a draft."""
        _tell(worker, STOP)
        return True

    def end(self, worker: _Process) -> str:
        """Kill a process that may have ended by itself, and remove the shard that it had half written."""
        worker.connection.close()
        worker.process.kill()
        try:
            code = worker.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL  # It waits for a device or a disk, and ends when that answers.
        if worker.shard is not None:
            remove_half_written(self._shards, self._job.name(worker.shard))
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _hear(worker: _Process, team: Supervisor[_Process]) -> None:
    try:
        word, *detail = worker.connection.recv()
    except (EOFError, OSError):
        team.lost(worker)
        return
    worker.heard = time.monotonic()
    match word, detail:
        case "embedded", [images, total]:
            team.embedded(images, total)
        case "kept", [images]:
            team.progress(worker, images, worker.made)
        case "made", [images]:
            team.progress(worker, worker.kept, worker.made + images)
        case "free", _:
            team.ready(worker)
        case "done", _:
            team.done(worker)
        case "failed", [error]:
            team.failed(error)


def _tell(worker: _Process, what: Any) -> None:
    try:
        worker.connection.send(what)
    except OSError:
        return  # Its end will be heard of.
