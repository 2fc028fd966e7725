"""Runs shards in this process, one after another."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from synthkit.system import stopping
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job


class Observer:
    """Shows progress, and ends the process if nothing goes on: a scheduler can then start it again."""

    def __init__(self, display: Display, timeout: float) -> None:
        self._display, self._timeout = display, timeout
        self._silent = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def embedded(self, images: int, total: int) -> None:
        """Real images have an embedding."""
        self.alive()
        self._display.embedded(images, total)

    def kept(self, images: int) -> None:
        """Images were made by an earlier build."""
        self._display.kept(images)

    def made(self, images: int) -> None:
        """Images are made."""
        self.alive()
        self._display.made(images)

    def alive(self) -> None:
        """Something went on."""
        self._silent = 0.0

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return stopping.requested()

    def finish(self) -> None:
        """Watch no more."""
        self._timeout = float("inf")

    def _watch(self) -> None:
        tick = min(1.0, self._timeout / 4)
        while self._timeout != float("inf"):
            time.sleep(tick)
            # Not the clock's time: a process that was suspended (Ctrl-Z) was not silent.
            self._silent += tick
            if self._silent > self._timeout:
                stopping.say(
                    f"error: nothing has gone on for {self._timeout:g} s: the device or a disk hangs; what "
                    "is finished is kept: run the same command again, or give a longer --worker-timeout"
                )
                os._exit(1)


def run(job: Job, device: str, display: Display) -> None:
    """Make a job's shards; each is whole on disk before the next begins. Raises Stopped if asked to stop."""
    observer = Observer(display, job.timeout)
    try:
        builder = job.ready(device, observer)
        with stopping.gracefully():
            for shard in job.missing:
                if stopping.requested():
                    raise Stopped
                builder.build(shard, observer)
    finally:
        observer.finish()
