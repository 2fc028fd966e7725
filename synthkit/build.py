"""One shard: planned rows → conditioned → generated → encoded → written.

Three stages overlap: while the model makes a batch, the next one's sources are read and mixed, and
the last one's images are encoded and written.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.image_maker import Draw
from synthkit.shards import ShardWriter, shard_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synthkit.image_maker import ImageMaker, Mixed
    from synthkit.plan import Plan

Batch = list[Draw]


@dataclass(frozen=True, slots=True)
class ShardBuilder:
    """Builds the shards of a plan in a folder."""

    plan: Plan
    maker: ImageMaker
    folder: Path

    def build(self, shard: int, advance: Callable[[int], None]) -> None:
        """Write one shard; `advance` is told of every batch that is written."""
        name = shard_name(shard, self.plan.shards)
        batches = ([Draw(row) for row in rows] for rows in self.plan.batches(shard))
        with (
            ThreadPoolExecutor(1) as before,
            ThreadPoolExecutor(1) as after,
            ShardWriter(self.folder, name, self.maker.recipe.output.extension) as writer,
        ):
            writing = None
            for batch, mixed in _ahead(before, self._mix, batches):
                images = self.maker.generate(batch, mixed)
                if writing is not None:
                    advance(writing.result())
                writing = after.submit(self._write, writer, batch, mixed, images)
            if writing is not None:
                advance(writing.result())

    def _mix(self, batch: Batch) -> list[Mixed]:
        return [self.maker.mix(draw) for draw in batch]

    def _write(
        self, writer: ShardWriter, batch: Batch, mixed: Sequence[Mixed], images: NDArray[np.uint8]
    ) -> int:
        for draw, item, pixels in zip(batch, mixed, images, strict=True):
            writer.write(*self.maker.finish(draw, item.mixing, pixels))
        return len(batch)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Batch], list[Mixed]], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, list[Mixed]]]:
    """Each batch with its work done, the next one's under way meanwhile."""
    waiting = None
    for batch in batches:
        next_one = (batch, pool.submit(work, batch))
        if waiting is not None:
            yield waiting[0], waiting[1].result()
        waiting = next_one
    if waiting is not None:
        yield waiting[0], waiting[1].result()
