"""Progress of long work: a bar with rate and time left on a terminal, a line in a notebook, else plain lines.

In a notebook the line is one output that changes; widgets, which rich's bar would need, are not asked for.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, Task

_PLAIN_EVERY_S, _NOTEBOOK_EVERY_S = 5.0, 0.25


class Advance(Protocol):
    """Takes the number of units that are done."""

    def __call__(self, count: float) -> None:
        """Count units that were just done."""
        ...

    def known(self, count: float) -> None:
        """Count units that were done in an earlier run; they do not count in the rate."""
        ...


@contextmanager
def progress(what: str, total: float, *, done: float = 0, unit: str = "images") -> Iterator[Advance]:
    """Show progress on `total` units, `done` of which were finished before; yield what takes the others."""
    if total <= done:
        yield _Unseen()
    elif sys.stderr.isatty():
        with _bar(unit) as bar:
            yield _OnBar(bar, what, total, done)
    elif _in_notebook():
        yield _NotebookLine(what, total, done, unit)
    else:
        yield _PlainLines(what, total, done, unit)


class _Unseen:
    """Shows nothing, as there is nothing to do."""

    def __call__(self, count: float) -> None:
        pass

    known = __call__


class _OnBar:
    """Advances a bar on a terminal."""

    def __init__(self, bar: Progress, what: str, total: float, done: float) -> None:
        self._bar, self._known = bar, done
        self._task = bar.add_task(what, total=total, completed=done, known=done)  # type: ignore[arg-type]

    def __call__(self, count: float) -> None:
        self._bar.advance(self._task, count)

    def known(self, count: float) -> None:
        self._known += count
        self._bar.update(self._task, advance=count, known=self._known)


class _PlainLines:
    """Prints a line every few seconds, and one at the end; threads may share it."""

    every_s = _PLAIN_EVERY_S

    def __init__(self, what: str, total: float, done: float, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._known = self._done = float(done)
        self._start = self._shown = time.monotonic()
        self._ended = False
        self._lock = threading.Lock()

    def __call__(self, count: float) -> None:
        self._add(count, 0)

    def known(self, count: float) -> None:
        self._add(count, count)

    def _add(self, count: float, known: float) -> None:
        with self._lock:
            self._done += count
            self._known += known
            now = time.monotonic()
            ends, self._ended = self._finished and not self._ended, self._finished
            if now - self._shown >= self.every_s or ends:
                self._shown = now
                self._show(self._line(now - self._start))

    def _show(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    @property
    def _finished(self) -> bool:
        return self._done >= self._total * (1 - 1e-9)

    def _line(self, seconds: float) -> str:
        told = f"{self._what}: {self._done:,.0f} of {self._total:,.0f} {self._unit}"
        worked = self._done - self._known
        if worked <= 0:
            return f"{told}, all known before" if self._finished else told
        rate = worked / max(seconds, 1e-9)
        left = max(self._total - self._done, 0) / rate
        return f"{told}, {rate:,.1f} {self._unit}/s, {duration(left)} left"


class _NotebookLine(_PlainLines):
    """Shows the same line as an output of a notebook's cell, which it changes a few times a second."""

    every_s = _NOTEBOOK_EVERY_S

    def __init__(self, what: str, total: float, done: float, unit: str) -> None:
        super().__init__(what, total, done, unit)
        self._output: Any = None

    def _show(self, line: str) -> None:
        from IPython.display import display

        if self._output is None:
            self._output = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._output.update({"text/plain": line}, raw=True)


def _in_notebook() -> bool:
    """Return whether the code runs in a Jupyter kernel, which has loaded IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def duration(seconds: float) -> str:
    """Return a duration in words: 8 s, 3 min 20 s, 5 h 12 min, 2 d 9 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // small} {small_name}"
    return f"{whole // 60} min {whole % 60} s"


def _bar(unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """The rate of what is done now, and the time that the rest takes at it."""

        def render(self, task: Task) -> Text:
            rate = (task.completed - task.fields["known"]) / max(task.elapsed or 0, 1e-9)
            if rate <= 0:
                return Text()
            left = max((task.total or 0) - task.completed, 0) / rate
            return Text(f"{rate:,.1f} {unit}/s, {duration(left)} left")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        console=Console(stderr=True),
    )


def data_size(count: float) -> str:
    """Return a number of bytes in words: 4.45 MB, 93.1 GB, 1.20 TB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.2f} TB"
