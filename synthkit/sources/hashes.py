"""The SHA-256 of real images as known from earlier runs, so that each is hashed once.

A small SQLite file in the work root: an image's stamp (path, size, time of change) → SHA-256. Only
images that could be decoded are in it. It can be deleted at any time; they are then read again.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synthkit.system.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FILE = "contents.sqlite"
_TABLE = "CREATE TABLE contents (stamp TEXT PRIMARY KEY, sha256 TEXT)"
_AT_ONCE = 500
# A file that changed this recently could change again within the resolution of its time (ns).
_SETTLED_NS = 2_000_000_000


class Contents:
    """Known SHA-256 by stamp. Without a connection nothing is known and nothing kept.

    It is never a reason to fail: what cannot be looked up is read again.
    """

    def __init__(self, connection: sqlite3.Connection | None = None) -> None:
        self._connection = connection

    def find(self, stamps: Sequence[str]) -> dict[str, str]:
        """What is known of some stamps."""
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
        """Remember SHA-256 by stamp for later runs."""
        rows = [row for row in known.items() if _settled(row[0])]
        with self._or_without() as connection:
            if connection is not None:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?)", rows)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def _or_without(self) -> Iterator[sqlite3.Connection | None]:
        """The connection; after an error (damage, a full disk, a name that is no text) none any more."""
        try:
            yield self._connection
        except (sqlite3.Error, UnicodeEncodeError):
            self.close()
            self._connection = None


@contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """The known contents in a file, which is made if need be; one that is damaged is begun again."""
    contents = Contents(_connect(path))
    try:
        yield contents
    finally:
        contents.close()


def _connect(path: Path) -> sqlite3.Connection | None:
    """An open file with its table, or None where there can be none."""
    for _ in ("as it is", "begun again"):
        try:
            if path.exists() and not path.is_file():
                return None
            make_folder(path.parent)
            connection = sqlite3.connect(path, timeout=60)
            with connection:
                # A view or a trigger of this name could keep a look-up busy for ever.
                if not {*connection.execute("SELECT sql FROM sqlite_master")} <= {(_TABLE,), (None,)}:
                    raise sqlite3.DatabaseError("not ours")
                if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("damaged")
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    connection.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            return connection
        except (OSError, sqlite3.OperationalError):
            # A disk that cannot lock or be written: go on without.
            return None
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)
    return None


def _settled(stamp: str) -> bool:
    """Whether the last time in a stamp, if it ends in one, is long enough ago."""
    last = stamp.rsplit("|", 1)[-1]
    return not (last.isdecimal() and len(last) > 15 and time.time_ns() - int(last) < _SETTLED_NS)
