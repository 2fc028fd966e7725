"""Faults of a release: of each kind the first ten, and how many more there are."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# How many faults of a kind are listed.
SHOWN = 10
_KEY = re.compile(r"^\d+(\.\w+)?: ")
# Faults are of one kind if their messages agree up to the part about one image or file, which begins with a
# number, a quotation or a value.
_OWN = re.compile(r"\d| ['\"]")
_OWN_OF_IMAGE = re.compile(r"\d| ['\"]| (?:is|are|has|says|holds|names) ")
_NAMING = re.compile(r"names |says its |calls ")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file; `times` is above 1 if the entry stands for several faults."""

    path: str
    reason: str
    times: int = 1


class FaultLog:
    """Collects faults; its memory does not grow with the number of faults of one kind."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._order: list[Fault] = []
        self._paths: set[str] = set()

    def add(self, path: str, reasons: Iterable[str]) -> None:
        """Add what is wrong with a file."""
        for reason in reasons:
            self._paths.add(path)
            kind = _kind(path, reason)
            self._counts[kind] += 1
            if self._counts[kind] <= SHOWN:
                self._order.append(Fault(path, reason))

    def has(self, path: str) -> bool:
        """Return whether anything is wrong with a file."""
        return path in self._paths

    def all(self) -> list[Fault]:
        """Return the faults in the order found, then an entry for each kind that has more than ten."""
        more = [
            Fault(folder, f"… and {count - SHOWN:,} more like “{what}…”", count - SHOWN)
            for (folder, what), count in self._counts.items()
            if count > SHOWN
        ]
        return [*self._order, *more]


def total(faults: Iterable[Fault]) -> int:
    """Return how many faults there are, those that an entry stands for included."""
    return sum(fault.times for fault in faults)


def _kind(path: str, reason: str) -> tuple[str, str]:
    """Return the kind of a fault: its file's folder, and its message without the part about one image."""
    folder = path.rpartition("/")[0]
    if _KEY.match(reason):
        return folder, _OWN_OF_IMAGE.split(_KEY.sub("", reason), maxsplit=1)[0]
    naming = _NAMING.match(reason)
    return folder, naming[0].strip() if naming else _OWN.split(reason, maxsplit=1)[0][:80]
