"""Being asked to stop: at once, or where it costs least, in the sections that say they can.

A scheduler's SIGTERM comes with some seconds of grace: enough to finish a batch and keep it.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOW_CURSOR = "\x1b[?25h"
_lock = threading.Lock()
_graceful = 0
_requested = threading.Event()


class Stopped(Exception):
    """A build that stopped where it was asked to; what is made is kept."""


@contextmanager
def gracefully() -> Iterator[None]:
    """A section that looks at `requested` and stops by itself."""
    global _graceful  # noqa: PLW0603 (signals have no other place)
    with _lock:
        _graceful += 1
    try:
        yield
    finally:
        with _lock:
            _graceful -= 1


def requested() -> bool:
    """Whether the process was asked to stop."""
    return _requested.is_set()


def ask(*, quietly: bool = False) -> bool:
    """Take a request to stop; False where it must be obeyed at once.

    A second request must, and one that nothing would look at.
    """
    if not _graceful or _requested.is_set():
        return False
    _requested.set()
    if not quietly:
        say("stopping after this batch")
    return True


def at_once(number: int) -> None:
    """End the process on the spot, with the exit code of a signal.

    An exception could not pass through native code that is being imported, and whatever a build has
    not finished is removed by the next one anyway.
    """
    say("stopped; what is finished is kept, and the same command goes on")
    os._exit(128 + number)


def say(what: str) -> None:
    """One line to the terminal, whose cursor a progress bar may have hidden."""
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    # Nobody may be there to read it.
    with suppress(OSError):
        os.write(2, f"{cursor}\n{what}\n".encode())
