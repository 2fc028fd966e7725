"""The `synthkit` command: being stopped is no error, at any moment, and costs no finished work."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_SHOW_CURSOR = "\x1b[?25h"


def main() -> None:
    """Run a command; Ctrl-C exits 130 and SIGTERM 143 with one line, also while libraries load.

    The process ends on the spot: an exception could not pass through native code that is being
    imported, and whatever a build has not finished is removed by the next one anyway.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    from synthkit.cli import app

    app()


def _stop(number: int, _frame: FrameType | None) -> None:
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{cursor}\nstopped; what is finished is kept, and the same command goes on\n".encode())
    os._exit(128 + number)


if __name__ == "__main__":
    main()
