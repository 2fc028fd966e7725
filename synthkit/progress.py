"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

_PLAIN_EVERY_S = 5.0


@contextmanager
def progress(
    what: str, total: float, *, done: int = 0, unit: str = "images"
) -> Iterator[Callable[[float], None]]:
    """Show work on `total` units, `done` of them finished before; yields the function that advances it."""
    if total <= done:
        yield lambda count: None
    elif sys.stderr.isatty():
        with _bar(unit) as bar:
            task = bar.add_task(what, total=total, completed=done, first=done)
            yield lambda count: bar.advance(task, count)
    else:
        yield _PlainLines(what, total, done, unit).advance


class _PlainLines:
    def __init__(self, what: str, total: float, done: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._first = self._done = float(done)
        self._start = self._shown = time.monotonic()

    def advance(self, count: float) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown >= _PLAIN_EVERY_S or self._done >= self._total * (1 - 1e-9):
            self._shown = now
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            left = max(self._total - self._done, 0) / rate if rate else 0.0
            print(
                f"{self._what}: {self._done:,.0f} of {self._total:,.0f} {self._unit}, "
                f"{rate:,.1f} {self._unit}/s, {duration(left)} left",
                file=sys.stderr,
                flush=True,
            )


def duration(seconds: float) -> str:
    """8 s, 3 min 20 s, 5 h 12 min, 2 d 9 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // small} {small_name}"
    return f"{whole // 60} min {whole % 60} s"


def _bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = (task.completed - task.fields["first"]) / max(task.elapsed or 0, 1e-9)
            return Text(f"{speed:,.1f} {unit}/s")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def data_size(count: float) -> str:
    """4.45 MB, 93.1 GB, 1.20 TB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.2f} TB"
