"""A worker process: makes the shards that it is told to, and tells how it goes on.

It ends when the process it works for does: after the batch under way, which it keeps as a draft.
Messages to it are shard numbers; from it (word, detail …), see `Talk`.
"""

from __future__ import annotations

import fcntl
import os
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from synthkit import stopping
from synthkit.errors import SynthkitError
from synthkit.stopping import Stopped

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.build import ShardBuilder
    from synthkit.engines.job import Job

STOP = "stop"
_ALIVE_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told first.

    `lock` is a file that it holds as long as it lives; `sharing` is how many workers share the cores.
    """

    job: Job
    device: str
    sharing: int
    lock: Path


class _Talk:
    """An observer that passes everything on: embedded, kept, made, alive; free, done, failed, stopped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last = 0.0

    def tell(self, word: str, *detail: Any) -> None:
        """Say something; to nobody, if the other side is gone."""
        self._last = time.monotonic()
        try:
            self._connection.send((word, *detail))
        except OSError:
            stopping.ask()

    def embedded(self, images: int, total: int) -> None:
        self.tell("embedded", images, total)

    def kept(self, images: int) -> None:
        self.tell("kept", images)

    def made(self, images: int) -> None:
        self.tell("made", images)

    def alive(self) -> None:
        if time.monotonic() - self._last > _ALIVE_EVERY_S:
            self.tell("alive")

    @property
    def stopping(self) -> bool:
        return stopping.requested()


def main() -> None:
    """Work for the process at the other end of the connection whose number is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal's Ctrl-C is for the process we work for.
    signal.signal(signal.SIGTERM, lambda number, frame: _stop())
    connection = Connection(int(sys.argv[1]))
    orders: Orders = connection.recv()
    shards: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, shards), daemon=True).start()
    talk = _Talk(connection)
    with orders.lock.open("a") as lock:
        _hold(lock.fileno())
        try:
            _work(orders, shards, talk)
        except Stopped:
            talk.tell("stopped")
        except SynthkitError as error:
            talk.tell("failed", SynthkitError(str(error)))
        except OSError as error:
            told = (error.errno, error.strerror, error.filename)
            talk.tell("failed", OSError(*told) if error.errno else SynthkitError(str(error)))
        except BaseException:
            talk.tell("failed", RuntimeError(traceback.format_exc()))
    # Without waiting for anything that libraries have running.
    os._exit(0)


def _work(orders: Orders, shards: queue.SimpleQueue[int], talk: _Talk) -> None:
    if orders.device == "cpu":
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // orders.sharing))
    builder: ShardBuilder = orders.job.ready(orders.device, talk)
    talk.tell("free")
    while True:
        shard = shards.get()
        with stopping.gracefully():
            builder.build(shard, talk)
        if stopping.requested():
            raise Stopped
        talk.tell("done", shard)


def _listen(connection: Connection, shards: queue.SimpleQueue[int]) -> None:
    while True:
        try:
            said = connection.recv()
        except (EOFError, OSError):
            said = STOP
        if said == STOP:
            _stop()
            return
        shards.put(said)


def _stop() -> None:
    """After the batch under way, or at once if there is none."""
    if not stopping.ask(quietly=True):
        os._exit(0)


def _hold(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        return  # A disk that cannot lock.


if __name__ == "__main__":
    main()
