"""Faults of a release: each once, the first of a kind one by one, and of the others how many there are."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = 10
_KEY = re.compile(r"^\d+(\.\w+)?: ")
# What a message says of one image or file alone begins with a number, a quotation, or a value.
_OWN = re.compile(r"\d| ['\"]")
_OWN_OF_IMAGE = re.compile(r"\d| ['\"]| (?:is|are|has|says|holds|names) ")
_NAMING = re.compile(r"names |says its |calls ")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and in which file; `times` more than once where several are told as one."""

    path: str
    reason: str
    times: int = 1


class FaultLog:
    """Faults as they are found; memory does not grow with how many are of one kind."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._order: list[Fault] = []
        self._paths: set[str] = set()

    def add(self, path: str, reasons: Iterable[str]) -> None:
        """Note what is wrong with a file."""
        for reason in reasons:
            self._paths.add(path)
            kind = _kind(path, reason)
            self._counts[kind] += 1
            if self._counts[kind] <= SHOWN:
                self._order.append(Fault(path, reason))

    def has(self, path: str) -> bool:
        """Whether anything is wrong with a file."""
        return path in self._paths

    def all(self) -> list[Fault]:
        """Every fault in the order found; then of each kind how many more there are."""
        more = [
            Fault(folder, f"… and {count - SHOWN:,} more like “{what}…”", count - SHOWN)
            for (folder, what), count in self._counts.items()
            if count > SHOWN
        ]
        return [*self._order, *more]


def total(faults: Iterable[Fault]) -> int:
    """How many faults there are in all."""
    return sum(fault.times for fault in faults)


def _kind(path: str, reason: str) -> tuple[str, str]:
    """Faults of one kind say the same of other images, or of other files beside each other."""
    folder = path.rpartition("/")[0]
    if _KEY.match(reason):
        return folder, _OWN_OF_IMAGE.split(_KEY.sub("", reason), maxsplit=1)[0]
    naming = _NAMING.match(reason)
    return folder, naming[0].strip() if naming else _OWN.split(reason, maxsplit=1)[0][:80]
