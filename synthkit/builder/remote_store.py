"""The shards of a build at an address, where nodes that share no folder put them and `merge` finds them."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synthkit.builder.options import WHOLE
from synthkit.builder.remote_shards import RemoteShards
from synthkit.builder.store import mark_of, mark_prefix, work_name
from synthkit.errors import BuildError
from synthkit.release.files import shard_name
from synthkit.system.work_root import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthkit.builder.inputs import Inputs
    from synthkit.builder.options import Part
    from synthkit.release.shards import ShardFacts


class RemoteStore:
    """The shards of one build, below an address; a ShardStore.

    `part` says which of the build's shards this process is to make; of a release that was grown, the newest
    block's alone, since `merge` takes the others from the earlier version. Everything raises BuildError if
    the address cannot be had.
    """

    def __init__(self, url: str, inputs: Inputs, part: Part) -> None:
        self.url = url.rstrip("/")
        self._shards = RemoteShards(f"{self.url}/{WORK_FOLDER}/{work_name(inputs)}/shards")
        self.part = part
        self.numbers = part.of_numbers(inputs.plan.newest)
        container = inputs.recipe.output.container
        self._numbers = {shard_name(number, container): number for number in self.numbers}

    def __str__(self) -> str:
        return self._shards.url

    @property
    def place(self) -> str:
        """The address of the shards."""
        return self._shards.url

    @contextmanager
    def opened(self, *, fresh: bool) -> Iterator[None]:
        """With `fresh`, remove this part's shards first; nothing at an address can be locked."""
        for name in self._numbers if fresh else ():
            self._shards.unmake(name)
        yield

    def finished(self) -> dict[int, ShardFacts]:
        """Return the finished shards of this part, by number."""
        every = self._shards.finished().items()
        return {self._numbers[name]: facts for name, facts in every if name in self._numbers}

    def total(self) -> int:
        """Return how many shards of the build are finished, those of other parts included."""
        return len(self._shards.finished())

    def intact(self) -> dict[int, ShardFacts]:
        """Return the finished shards. `merge` is the first to read their content."""
        return self.finished()

    @contextmanager
    def marked(self) -> Iterator[str]:
        """Keep a small file among the shards for the length of a block; yields its name.

        Such files that stopped builds of the part left are removed; those of other parts may be in use.
        """
        left = r"\.ray-.*\.tmp" if self.part == WHOLE else rf"{re.escape(mark_prefix(self.part))}.*\.tmp"
        for name in self._shards.listed():
            if re.fullmatch(left, name):
                self._shards.remove(name)
        mark = mark_of(self.part)
        with self._shards.marked(mark):
            yield mark

    def settle(self) -> None:
        """Raise BuildError if a shard that was delivered is not there."""
        there = self.finished()
        lost = [name for name, number in self._numbers.items() if number not in there]
        if lost:
            raise BuildError(f"{self}: {len(lost)} shards were sent and are not there ({min(lost)} …)")
