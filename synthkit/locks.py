"""Locks on files, which the kernel lets go of when a process dies.

A disk that cannot lock (Lustre without `flock`, some network file systems) locks nothing: what is made
twice there is the same twice, so nothing is lost but time.
"""

from __future__ import annotations

import fcntl


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether an open file is locked now, with others who share it or alone; does not wait."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
