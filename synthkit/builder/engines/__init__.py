"""Engines: who makes the missing shards of a build, and on which machines.

A new engine is one file with a class that does what `Engine` says, and one line in `ENGINES`.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, NamedTuple, Protocol

from synthkit.errors import BuildError

if TYPE_CHECKING:
    from synthkit.builder.engines.display import Display
    from synthkit.builder.engines.job import Job
    from synthkit.builder.options import Options


class Engine(Protocol):
    """Makes shards."""

    def check(self, options: Options) -> None:
        """Raise BuildError, within seconds and before anything is read, for what the engine cannot do."""

    def run(self, job: Job, options: Options, display: Display) -> int:
        """Make all shards of a job; returns how many workers had a share in it.

        Raises Stopped if the process was asked to stop, or a SynthkitError; finished shards survive.
        """
        ...


class Entry(NamedTuple):
    """An engine's class as `module:Class`, and where it makes shards, in words.

    One that `spans_machines` must be told the batch size, and can put shards at an address.
    """

    load: str
    where: str
    spans_machines: bool


ENGINES = {
    "local": Entry("synthkit.builder.engines.local:Local", "this machine", False),
    "ray": Entry("synthkit.builder.engines.ray_driver:Ray", "the nodes of a Ray cluster", True),
}


def find_engine(name: str) -> Engine:
    """Return an engine, whose module is imported now. Raises BuildError if there is none of that name."""
    if name not in ENGINES:
        raise BuildError(f"--engine {name}: there is no such engine; there are {' and '.join(ENGINES)}")
    engine: Engine = resolve_name(ENGINES[name].load)()
    return engine
