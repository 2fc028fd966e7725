"""The SHA-256 of files, remembered between runs so that each file is hashed once.

A small SQLite file in the work root maps a file's stamp (path, inode, size, times of change) to its SHA-256.
Real images have one, which holds only images that could be decoded, and the files of models have another.
Both can be deleted at any time; the files are then read again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from synthkit.system.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

# Of the real images.
FILE = "contents.sqlite"
# Of the files of models.
MODELS = "models.sqlite"
_TABLE = "CREATE TABLE contents (stamp TEXT PRIMARY KEY, sha256 TEXT)"
_AT_ONCE = 500
# Nanoseconds: a file that changed this recently could change again without getting another time.
_SETTLED_NS = 2_000_000_000


class KnownHashes:
    """The known SHA-256 by stamp; without a connection, none is known and none is kept.

    No method raises an error of SQLite: what cannot be looked up is read again.
    """

    def __init__(self, connection: sqlite3.Connection | None = None) -> None:
        self._connection = connection

    def find(self, stamps: Sequence[str]) -> dict[str, str]:
        """Return the SHA-256 of those stamps that are known."""
        found: dict[str, str] = {}
        with self._or_without() as connection:
            if connection is not None:
                for start in range(0, len(stamps), _AT_ONCE):
                    some = stamps[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    query = f"SELECT stamp, sha256 FROM contents WHERE stamp IN ({marks})"  # noqa: S608
                    found.update(connection.execute(query, some))
        return found

    def keep(self, known: Mapping[str, str]) -> None:
        """Remember the SHA-256 of stamps for later runs."""
        rows = [row for row in known.items() if _settled(row[0])]
        with self._or_without() as connection:
            if connection is not None:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def _or_without(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the connection, or None after an error: damage, a full disk, a file name in no encoding."""
        try:
            yield self._connection
        except (sqlite3.Error, UnicodeEncodeError):
            self.close()
            self._connection = None


def stamp_of(path: Path | str, status: os.stat_result) -> str:
    """Return what stands for a file as long as it does not change: its absolute path and `state_of`."""
    return f"{os.path.abspath(path)}|{state_of(status)}"  # noqa: PTH100 (links stay links)


def state_of(status: os.stat_result) -> str:
    """Return inode, size and times (ns) as a text.

    It has the time of status change, too, which no copying tool can set.
    """
    return f"{status.st_ino}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}"


def known_if_begun(path: Path) -> AbstractContextManager[KnownHashes]:
    """Open the file of known hashes if its folder is there; for commands that begin no work root."""
    return open_known_hashes(path) if path.parent.is_dir() else nullcontext(KnownHashes())


@contextmanager
def open_known_hashes(path: Path) -> Iterator[KnownHashes]:
    """Open the file of known hashes; a missing one is made, and a damaged one is begun anew."""
    known_hashes = KnownHashes(_connect(path))
    try:
        yield known_hashes
    finally:
        known_hashes.close()


def _connect(path: Path) -> sqlite3.Connection | None:
    """Return a connection to the file, with its table; None if no file can be there."""
    for _ in ("as it is", "begun again"):
        try:
            if path.exists() and not path.is_file():
                return None
            make_folder(path.parent)
            connection = sqlite3.connect(path, timeout=60)
            with connection:
                # A view of this name, in a file that others wrote, could keep a look-up busy for ever.
                if not {*connection.execute("SELECT sql FROM sqlite_master")} <= {(_TABLE,), (None,)}:
                    raise sqlite3.DatabaseError("not ours")
                if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("damaged")
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    connection.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            return connection
        except (OSError, sqlite3.OperationalError):
            # The disk cannot be locked or written; work goes on without the file.
            return None
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)
    return None


def _settled(stamp: str) -> bool:
    """Return whether a file last changed long enough ago, by its stamp; True for stamps without a time."""
    last = stamp.rsplit("|", 1)[-1]
    return not (last.isdecimal() and len(last) > 15 and time.time_ns() - int(last) < _SETTLED_NS)
