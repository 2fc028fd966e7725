"""The `synthkit` command, and what Ctrl-C and SIGTERM do to it: finished work is kept."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from synthkit.system import stopping

if TYPE_CHECKING:
    from types import FrameType


def main() -> None:
    """Run a command; Ctrl-C exits 130 and SIGTERM 143 with one line, even while libraries load."""
    signal.signal(signal.SIGINT, _at_once)
    signal.signal(signal.SIGTERM, _after_this_batch)
    from synthkit.cli import app

    app()


def _at_once(number: int, _frame: FrameType | None) -> None:
    stopping.at_once(number)


def _after_this_batch(number: int, _frame: FrameType | None) -> None:
    if not stopping.ask():
        stopping.at_once(number)


if __name__ == "__main__":
    main()
