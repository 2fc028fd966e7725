"""The engine of this machine: this process makes the shards, or one worker process for each device."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from synthkit.builder.engines import processes
from synthkit.builder.ready import Setup, ready
from synthkit.builder.workspace import Workspace
from synthkit.errors import BuildError
from synthkit.generators import needs_device
from synthkit.system import stopping
from synthkit.system.environment import NO_DEVICE, check_device, choose_devices, describe_all
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Options


class Observer:
    """Shows progress; ends the process if there is no sign of life, for a scheduler to start it again."""

    def __init__(self, display: Display, timeout: float) -> None:
        self._display, self._timeout = display, timeout
        self._silent = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def embedded(self, images: int, total: int) -> None:
        """Show images that have an embedding now."""
        self.alive()
        self._display.embedded(images, total)

    def kept(self, images: int) -> None:
        """Show images that an earlier build made."""
        self._display.kept(images)

    def made(self, images: int) -> None:
        """Show images that are made now."""
        self.alive()
        self._display.made(images)

    def alive(self) -> None:
        """Take note of a sign of life."""
        self._silent = 0.0

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return stopping.requested()

    def finish(self) -> None:
        """Stop watching."""
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


class Local:
    """Makes shards on this machine; an Engine."""

    def check(self, options: Options) -> None:
        """Raise BuildError for a device that is not here, or an option of another engine."""
        if options.address is not None:
            raise BuildError(
                f"--address {options.address}: only Ray connects to a cluster; give --engine ray with it"
            )
        check_device(options.device)

    def run(self, job: Job, options: Options, display: Display) -> int:
        """Make all shards of a job, on as many devices as it has shards at most."""
        work = job.store
        if not isinstance(work, Workspace):
            raise TypeError(f"{work}: this machine writes shards to a folder")
        devices = devices_for(job.inputs, options)
        origin = job.origin(describe_all(devices))
        setup = Setup(job.inputs, origin, work.shards, work.root)
        devices = devices[: len(job.missing)]
        if len(devices) > 1:
            return processes.run(job, setup, devices, work.workers_lock, options.timeout, display)
        _run_here(job, setup, devices[0], Observer(display, options.timeout))
        return 1


def devices_for(inputs: Inputs, options: Options) -> list[str]:
    """Return the devices that share a build on this machine. Raises BuildError if they are not here."""
    checkpoint = inputs.checkpoint
    if needs_device(checkpoint):
        return choose_devices(options.device, options.workers, model_bytes=checkpoint.size)
    return [NO_DEVICE] * (options.workers or 1)


def _run_here(job: Job, setup: Setup, device: str, observer: Observer) -> None:
    """Make shards in this process; each is whole on disk before the next begins."""
    try:
        builder = ready(setup, device, observer)
        with stopping.gracefully():
            for shard in job.missing:
                if stopping.requested():
                    raise Stopped
                builder.build(shard, observer)
    finally:
        observer.finish()
