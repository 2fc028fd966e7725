"""How to build: all that changes no byte of an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import BuildError
from synthkit.system.work_root import work_root

if TYPE_CHECKING:
    from synthkit.release.plan import Plan

LOG = "build.jsonl"


class Part(NamedTuple):
    """One of several parts of equal size that a build is divided into; `number` counts from 1."""

    number: int
    of: int

    def shards(self, plan: Plan) -> range:
        """Return the numbers of its shards, which follow each other.

        Of a release that was grown, parts divide the newest block alone: the others are there.
        """
        if self == WHOLE:
            return range(plan.shards)
        return self.of_numbers(plan.newest)

    def of_numbers(self, numbers: range) -> range:
        """Return its share of the numbers of some shards."""
        count = len(numbers)
        return numbers[(self.number - 1) * count // self.of : self.number * count // self.of]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Part(1, 1)


RELEASES = Path("releases")
MOST_WORKERS = 1024
# Dollars for an hour of a device; no price is above it, and no cost of a plan is infinite.
DEAREST = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to build.

    `out` is where release folders go (default `releases`); `limit` makes a preview of that many images;
    `part` makes only its shards, and no release; `fresh` drops finished shards; `overwrite` allows replacing
    what this recipe did not make. `engine` names who makes the shards (`engines.ENGINES`); `workers` is how
    many share the work, None for one a GPU; one that shows no sign of life for `timeout` seconds is replaced.
    `address` is that of a Ray cluster, None for the one of this machine. `earlier` is the folder of the
    version that a grown release continues, None for the one that it replaces. `tokens` is a file of learned
    tokens, None for those of the work root.
    """

    out: Path | None = None
    device: str = "auto"
    limit: int | None = None
    part: Part = WHOLE
    workers: int | None = None
    timeout: float = 900.0
    engine: str = "local"
    address: str | None = None
    fresh: bool = False
    overwrite: bool = False
    earlier: Path | None = None
    tokens: Path | None = None

    @property
    def releases(self) -> Path:
        """The folder of release folders."""
        return self.out or RELEASES

    def release(self, name: str) -> Path:
        """Return the folder of the release of a recipe's name."""
        return self.releases / (name if self.limit is None else f"{name}-preview")

    @property
    def work_root(self) -> Path:
        """Where unfinished work is kept: on the disk that the user chose for the release."""
        return work_root(self.out)


def parse_part(text: str) -> Part:
    """Read a part from `3/16`. Raises BuildError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    part = Part(int(found[1]), int(found[2])) if found else WHOLE
    if found is None or not 1 <= part.number <= part.of:
        raise BuildError(
            f"--shards {text}: must be like 3/16, the third of sixteen parts, counted from 1 "
            "(a Slurm array as --array=1-16)"
        )
    return part
