"""Compares the rows of the tables of records with the records in the shards."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import msgspec

from synthkit.errors import ReleaseError, one_line
from synthkit.release.record_table import RecordTable, UnreadableRecords
from synthkit.release.records import KINDS, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthkit.release.records import Provenance


class TableRows:
    """The rows of the table of one block, each row group a shard; `first` is the number of its first shard.

    Threads may compare shards at the same time.
    """

    def __init__(self, path: Path, images: Sequence[int], form: int, first: int) -> None:
        self._kind, self._first = KINDS[form], first
        self._lock = Lock()
        self._table: RecordTable | None = None
        self._fault = ""
        if path.is_file():
            try:
                self._table = RecordTable(path, images, form)
            except UnreadableRecords as error:
                self._fault = error.reason

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the file as a whole."""
        if self._fault:
            yield self._fault

    def differences(self, shard: int, records: Sequence[Provenance | None]) -> Iterator[str]:
        """Yield the rows of a shard that differ from the records in it."""
        if self._table is None:
            return
        try:
            with self._lock:
                table = self._table.read(shard - self._first)
            known = [record for record in records if record is not None]
            if len(known) == len(records) and table.equals(table_of(known)):
                return
            found = [msgspec.convert(row, self._kind) for row in table.to_pylist()]
        except (ReleaseError, ValueError) as error:
            reason = error.reason if isinstance(error, UnreadableRecords) else str(error)
            yield f"the rows of shard {shard} cannot be read: {one_line(reason)}"
            return
        if len(found) != len(records):
            yield f"has {len(found)} rows for shard {shard}, in which {len(records)} images were found"
        for row, record in zip(found, records, strict=False):
            if record is not None and row != record:
                yield f"{record.key}: the row of this image is not its record"
