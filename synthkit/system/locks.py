"""Locks on files, which the kernel releases when a process dies.

On a disk that cannot lock (Lustre without `flock`, some network file systems) every lock is granted. Two
processes may then make the same images twice: they are the same bytes, and only time is lost.
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
    """Hold a lock, alone or shared. Raises BuildError, naming the process that has it, if it is taken.

    While it is held, its file is there with the number of the process in it. A lock that is not shared
    removes the file at the end.
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
    """Lock an open file, alone or shared, without waiting; return whether it worked.

    True on a disk that cannot lock.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_left(path: Path) -> bool:
    """Return whether a locked file was left by a process that is gone; False on a disk that cannot lock."""
    try:
        with path.open("r+b") as stream:
            return is_abandoned(stream.fileno())
    except OSError:
        return False


def is_abandoned(descriptor: int) -> bool:
    """Return whether no process holds the lock of an open file; False on a disk that cannot lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _taken(path: Path, what: str, *, shared: bool) -> IO[str]:
    """Return the lock's file, open and locked; open it again if its last holder removed it meanwhile."""
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
    """Return whether an open file is still the one under its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False
