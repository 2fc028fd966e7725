"""One shard: planned rows → conditioned → generated → judged → encoded → written.

Three stages overlap: while the model makes a batch, the next one's sources are read and mixed, and
the last one's images are encoded. What the quality gates reject is drawn again, in batches of its own.
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

    from synthkit.filters import Judge
    from synthkit.image_maker import ImageMaker, Mixed
    from synthkit.plan import Plan
    from synthkit.records import Provenance

Batch = list[Draw]
# By index, since rejected draws come late.
Made = dict[int, tuple["Provenance", bytes]]


@dataclass(frozen=True, slots=True)
class ShardBuilder:
    """Builds the shards of a plan in a folder; `judge` is None without quality gates."""

    plan: Plan
    maker: ImageMaker
    judge: Judge | None
    folder: Path

    def build(self, shard: int, advance: Callable[[int], None]) -> None:
        """Write one shard; `advance` is told of every batch that is made."""
        name = shard_name(shard, self.plan.shards)
        made: Made = {}
        batches: Iterable[Batch] = ([Draw(row) for row in rows] for rows in self.plan.batches(shard))
        while batches:
            again = self._make(batches, made, advance)
            size = self.plan.batch_size
            batches = [again[start : start + size] for start in range(0, len(again), size)]
        with ShardWriter(self.folder, name, self.maker.recipe.output.extension) as writer:
            for index in sorted(made):
                writer.write(*made[index])

    def _make(self, batches: Iterable[Batch], made: Made, advance: Callable[[int], None]) -> Batch:
        """Make batches; returns the draws that must be made again, with the reasons."""
        again: Batch = []
        with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as after:
            finishing = None
            for batch, mixed in _ahead(before, self._mix, batches):
                images = self.maker.generate(batch, mixed)
                kept = self._judged(batch, images, again)
                if finishing is not None:
                    advance(finishing.result())
                finishing = after.submit(self._finish, kept, mixed, images, made)
            if finishing is not None:
                advance(finishing.result())
        return again

    def _judged(self, batch: Batch, images: NDArray[np.uint8], again: Batch) -> list[Draw | None]:
        """The draws that are kept, None in place of those to be made again."""
        filters = self.maker.recipe.filters
        if self.judge is None or filters is None:
            return list(batch)
        kept: list[Draw | None] = []
        for draw, reason in zip(batch, self.judge.reasons(batch, images), strict=True):
            rejected = (*draw.rejected, reason)
            if not reason:
                kept.append(draw)
            elif draw.attempt + 1 < filters.max_draws:
                again.append(Draw(draw.row, draw.attempt + 1, rejected))
                kept.append(None)
            else:
                # Kept all the same: a release has no gaps. One reason more than attempts tells it.
                kept.append(Draw(draw.row, draw.attempt, rejected))
        return kept

    def _mix(self, batch: Batch) -> list[Mixed]:
        return [self.maker.mix(draw) for draw in batch]

    def _finish(
        self, kept: Sequence[Draw | None], mixed: Sequence[Mixed], images: NDArray[np.uint8], made: Made
    ) -> int:
        done = 0
        for draw, item, pixels in zip(kept, mixed, images, strict=True):
            if draw is not None:
                made[draw.row.index] = self.maker.finish(draw, item.mixing, pixels)
                done += 1
        return done


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
