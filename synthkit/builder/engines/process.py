"""A worker process: it makes the shards that it is told to make, and reports how it goes on.

If the process that started it ends, it ends as well: after the batch under way, which it keeps as a draft.
It receives the numbers of shards, and `STOP`; it sends tuples of a word and its details, see `_Talk`.
"""

from __future__ import annotations

import os
import pickle  # noqa: TID251 (of the process that started this one)
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from synthkit.builder.ready import Setup, ready
from synthkit.errors import SynthkitError
from synthkit.system import stopping
from synthkit.system.locks import try_lock
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.builder.shard import ShardBuilder

STOP = "stop"
_ALIVE_EVERY_S = 0.5


if TYPE_CHECKING:
    # None stands for the end.
    Shards = queue.SimpleQueue[int | None]


@dataclass(frozen=True, slots=True)
class Orders:
    """What workers are told first.

    `lock` is a file that each locks as long as it lives; `sharing` is how many workers share the cores.
    """

    setup: Setup
    sharing: int
    lock: Path


class _Talk:
    """Sends words: as an Observer embedded, kept, made and alive; by `tell` also free, done and failed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last = 0.0

    def tell(self, word: str, *detail: Any) -> None:
        """Send a word; if the other side is gone, ask for a stop."""
        self._last = time.monotonic()
        try:
            self._connection.send((word, *detail))
        except OSError:
            stopping.ask(quietly=True)

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
    """Work on a device for the process that started this one.

    The command's arguments are the numbers of two open files (the connection to that process, and its pickled
    orders) and the device.
    """
    shards: Shards = queue.SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The terminal's Ctrl-C is for the process we work for.
    signal.signal(signal.SIGTERM, lambda number, frame: _stop(shards))
    connection, device = Connection(int(sys.argv[1])), sys.argv[3]
    orders = _read(int(sys.argv[2]))
    threading.Thread(target=_listen, args=(connection, shards), daemon=True).start()
    talk = _Talk(connection)
    with orders.lock.open("a") as lock:
        try_lock(lock.fileno(), shared=True)
        try:
            _work(orders, device, shards, talk)
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


def _read(descriptor: int) -> Orders:
    """Read the orders without moving the file's position: all workers share the open file."""
    raw = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    orders: Orders = pickle.loads(raw)  # noqa: S301 (of the process that started this one)
    return orders


def _work(orders: Orders, device: str, shards: Shards, talk: _Talk) -> None:
    if device == "cpu":
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // orders.sharing))
    builder: ShardBuilder = ready(orders.setup, device, talk)
    talk.tell("free")
    while True:
        shard = shards.get()
        if shard is None:
            raise Stopped
        with stopping.gracefully():
            builder.build(shard, talk)
        if stopping.requested():
            raise Stopped
        talk.tell("done", shard)


def _listen(connection: Connection, shards: Shards) -> None:
    while True:
        try:
            said = connection.recv()
        except (EOFError, OSError):
            said = STOP
        if said == STOP:
            _stop(shards)
            return
        shards.put(said)


def _stop(shards: Shards) -> None:
    """End the process after the batch under way, or at once if there is none."""
    if not stopping.ask(quietly=True):
        os._exit(0)
    # If the batch has just ended, the main thread waits for the next shard: wake it.
    shards.put(None)


if __name__ == "__main__":
    main()
