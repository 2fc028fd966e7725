"""Requests to stop, by Ctrl-C or SIGTERM: obeyed at once, or by a build at the end of its batch.

A scheduler's SIGTERM leaves some seconds: enough to finish a batch and keep it.
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
    """Raised by a build that stopped because it was asked to; what it has made is kept."""


@contextmanager
def gracefully() -> Iterator[None]:
    """Mark a section that looks at `requested` and stops by itself, so that `ask` waits for it."""
    global _graceful  # noqa: PLW0603 (a signal's handler has only globals)
    with _lock:
        _graceful += 1
    try:
        yield
    finally:
        with _lock:
            _graceful -= 1


def requested() -> bool:
    """Return whether the process was asked to stop."""
    return _requested.is_set()


def ask(*, quietly: bool = False) -> bool:
    """Take a request to stop, and return whether a section will obey it; False: stop at once.

    False for a second request, and where no section is marked with `gracefully`.
    """
    if not _graceful or _requested.is_set():
        return False
    _requested.set()
    if not quietly:
        say("stopping after this batch")
    return True


def at_once(number: int) -> None:
    """End the process without cleaning up, with the exit code of a signal.

    An exception could not pass through native code that is being imported, and the next build removes what
    this one has not finished.
    """
    say("stopped; what is finished is kept, and the same command goes on")
    os._exit(128 + number)


def say(what: str) -> None:
    """Print a line to standard error, and show the cursor, which a progress bar may have hidden."""
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    # Standard error may be closed.
    with suppress(OSError):
        os.write(2, f"{cursor}\n{what}\n".encode())
