"""Locks on files, which the kernel lets go of when a process dies.

A disk that cannot lock (Lustre without `flock`, some network file systems) locks nothing: what is made
twice there is the same twice, so nothing is lost but time.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from synthkit.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def held(path: Path, what: str, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock, alone or with others who share it. Raises BuildError, naming who has it, if it is taken.

    The file is there while it is held, with the number of the process in it; who holds it alone removes it.
    """
    with _taken(path, what, shared=shared) as stream:
        try:
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield
        finally:
            if shared:
                stream.truncate(0)
            else:
                path.unlink(missing_ok=True)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether an open file is locked now, with others who share it or alone; does not wait."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_left(path: Path) -> bool:
    """Whether a lock's file is there that nobody holds; never so where the disk cannot tell."""
    try:
        with path.open("r+b") as stream:
            return is_abandoned(stream.fileno())
    except OSError:
        return False


def is_abandoned(descriptor: int) -> bool:
    """Whether nobody holds the lock of an open file; never so where the disk cannot tell."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _taken(path: Path, what: str, *, shared: bool) -> IO[str]:
    """The open, locked file; one that its last holder removed meanwhile is not it."""
    while True:
        stream = path.open("a+")
        try:
            if not try_lock(stream.fileno(), shared=shared):
                stream.seek(0)
                other = stream.read().strip() or "unknown"
                raise BuildError(
                    f"{what}: process {other} is at work on it; wait for it to end, then run this again"
                )
            if _is_at(stream, path):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
