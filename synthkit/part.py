"""A part of a build's shards, for machines that share one: `--shards 3/16`."""

from __future__ import annotations

import re
from typing import NamedTuple

from synthkit.errors import BuildError


class Part(NamedTuple):
    """The n-th of so many parts of equal size, counted from 1."""

    number: int
    of: int

    def shards(self, count: int) -> range:
        """Its shards, of so many: consecutive ones."""
        return range((self.number - 1) * count // self.of, self.number * count // self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Part(1, 1)


def parse_part(text: str) -> Part:
    """A part from `3/16`. Raises BuildError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    part = Part(int(found[1]), int(found[2])) if found else WHOLE
    if found is None or not 1 <= part.number <= part.of:
        raise BuildError(
            f"--shards {text}: is no part: it must be 3/16 for the third of sixteen, counted from 1 "
            "(a Slurm array as --array=1-16)"
        )
    return part
