"""The blocks of a release, and how images and shards are numbered through them.

A release that was never grown is one block. Each time its target is raised, or classes are added, a block of
new images follows the blocks that are there. Images and shards are numbered on, and every block begins a
shard of its own, so that the shards of earlier blocks stay as they are.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Blocks:
    """How many images each block has (`images`), and a full shard (`shard_size`)."""

    images: tuple[int, ...]
    shard_size: int

    @property
    def total(self) -> int:
        """How many images all blocks have."""
        return sum(self.images)

    @property
    def shards(self) -> int:
        """How many shards all blocks fill."""
        return sum(self.shards_of(block) for block in range(len(self.images)))

    def shards_of(self, block: int) -> int:
        """Return how many shards the images of a block fill; the last one may be short."""
        return -(-self.images[block] // self.shard_size)

    def numbers(self, block: int) -> range:
        """Return the numbers of a block's shards."""
        first = self._first_shards()[block]
        return range(first, first + self.shards_of(block))

    def block_of(self, shard: int) -> int:
        """Return the block that a shard belongs to."""
        return bisect_right(self._first_shards(), shard) - 1

    def indices(self, shard: int) -> range:
        """Return the indices of a shard's images."""
        block = self.block_of(shard)
        begins = self._first_images()[block]
        start = begins + (shard - self._first_shards()[block]) * self.shard_size
        return range(start, min(start + self.shard_size, begins + self.images[block]))

    def block_with(self, index: int) -> int:
        """Return the block that the image with an index belongs to."""
        return bisect_right(self._first_images(), index) - 1

    def shard_of(self, index: int) -> int:
        """Return the number of the shard that holds the image with an index."""
        block = self.block_with(index)
        return self._first_shards()[block] + (index - self._first_images()[block]) // self.shard_size

    def first(self, count: int) -> Blocks:
        """Return the blocks of a preview: those of the first images."""
        return Blocks(tuple(_cut(self.images, count)), self.shard_size)

    def _first_images(self) -> list[int]:
        return [0, *accumulate(self.images[:-1])]

    def _first_shards(self) -> list[int]:
        return [0, *accumulate(self.shards_of(block) for block in range(len(self.images) - 1))]


def _cut(images: tuple[int, ...], count: int) -> Iterator[int]:
    for block in images:
        if count <= 0:
            return
        yield min(block, count)
        count -= block
