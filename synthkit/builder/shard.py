"""One shard: condition its planned rows → generate → pass the quality gates → encode → write.

Three stages overlap: while the model makes a batch, one thread reads and mixes the sources of the next batch,
and another encodes the images of the last one. Images that the quality gates reject are drawn again, with the
next attempt's seed, in batches of their own.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from synthkit.builder.drafts import draft_path, read_draft, write_draft
from synthkit.builder.image import Draw
from synthkit.release.files import shard_name
from synthkit.release.scores import rejection
from synthkit.release.shards import ShardWriter, finished
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synthkit.builder.drafts import Samples
    from synthkit.builder.filters import Gates
    from synthkit.builder.image import ImageMaker, Mixed
    from synthkit.builder.shard_plans import ShardPlans
    from synthkit.conditioning import Mixing
    from synthkit.release.plan import Plan
    from synthkit.release.shards import Origin

Batch = list[Draw]


class Observer(Protocol):
    """Follows the building of shards: it is told of progress and of signs of life, and can ask for a stop."""

    def embedded(self, images: int, total: int) -> None:
        """Take note that so many more real images, of the total to embed, have an embedding."""

    def kept(self, images: int) -> None:
        """Take note that an earlier build made so many images of a shard."""

    def made(self, images: int) -> None:
        """Take note that so many more images are made."""

    def alive(self) -> None:
        """Take note of a sign of life: a denoising step, a file."""

    @property
    def stopping(self) -> bool:
        """Whether the build is to stop after this batch."""
        ...


@dataclass(frozen=True, slots=True)
class ShardBuilder:
    """Builds the shards of a plan in a folder; `gates` is None for a recipe without quality gates.

    `plans` hashes what is planned for a shard, for its sidecar.
    """

    plan: Plan
    plans: ShardPlans
    maker: ImageMaker
    gates: Gates | None
    folder: Path
    origin: Origin

    def build(self, shard: int, observer: Observer) -> None:
        """Write one shard, going on from its draft if there is one; do nothing if it is finished.

        Raises Stopped if the observer wants a stop; the images that are made are then kept as a draft.
        """
        name, extension = self.name(shard), self.maker.recipe.output.extension
        draft = draft_path(self.folder, name)
        there = finished(self.folder, name)
        if there is not None and (there.origin, there.plan) == (self.origin, self.plans.digest(shard)):
            observer.kept(self.plan.images_in(shard))
            return
        made = self._planned(shard, read_draft(draft, self.origin, extension, self.maker.form))
        observer.kept(len(made))
        self.draw(self._missing(shard, made), made, observer)
        if len(made) < self.plan.images_in(shard):
            write_draft(draft, made, self.origin, extension)
            raise Stopped
        self.write(shard, made)
        draft.unlink(missing_ok=True)

    def draw(self, draws: Batch, made: Samples, observer: Observer) -> None:
        """Make draws, and the next ones of what the gates reject; add what is kept to `made`.

        Some are missing if the observer wants a stop.
        """
        batches = _batches(draws, self.plan.batch_size)
        while batches:
            batches = _batches(self._make(batches, made, observer), self.plan.batch_size)
            if observer.stopping:
                return

    def write(self, shard: int, made: Samples) -> None:
        """Write a shard of these images, in order."""
        extension, plan = self.maker.recipe.output.extension, self.plans.digest(shard)
        with ShardWriter(self.folder, self.name(shard), extension, self.origin, plan) as writer:
            for index in sorted(made):
                writer.write(*made[index])

    def name(self, shard: int) -> str:
        """Return the file name of a shard."""
        return shard_name(shard, self.maker.recipe.output.container)

    def _planned(self, shard: int, made: Samples) -> Samples:
        """Return those images of a draft that are the plan's."""
        indices = self.plan.indices(shard)
        return {
            index: item
            for index, item in made.items()
            if index in indices and self.maker.is_of(item[0], self.plan.row(index))
        }

    def _missing(self, shard: int, made: Samples) -> Batch:
        return [Draw(self.plan.row(index)) for index in self.plan.indices(shard) if index not in made]

    def _make(self, batches: Iterable[Batch], made: Samples, observer: Observer) -> Batch:
        """Make batches until told to stop; return the next draws of images that the gates rejected."""
        again: Batch = []
        with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as after:
            finishing = None
            for batch, mixed in _ahead(before, self._mix, batches):
                images = self.maker.generate(batch, mixed)
                kept = self._judged(batch, images, again)
                if finishing is not None:
                    observer.made(finishing.result())
                # Not the mixed images themselves, which would stay in memory until then.
                mixings = [item.mixing for item in mixed]
                finishing = after.submit(self._finish, kept, mixings, images, made)
                if observer.stopping:
                    break
            if finishing is not None:
                observer.made(finishing.result())
        return again

    def _judged(self, batch: Batch, images: NDArray[np.uint8], again: Batch) -> list[Draw | None]:
        """Return the draws that are kept, None for the others; add to `again` what is to be drawn next."""
        filters = self.maker.recipe.filters
        if self.gates is None or filters is None:
            return list(batch)
        kept: list[Draw | None] = []
        for draw, scores in zip(batch, self.gates.scores(batch, images), strict=True):
            reason = rejection(scores, filters)
            rejected = (*draw.rejected, reason)
            if not reason:
                kept.append(draw._replace(scores=scores))
            elif draw.attempt + 1 < filters.max_draws:
                again.append(Draw(draw.row, draw.attempt + 1, rejected))
                kept.append(None)
            else:
                # The last attempt is kept although it is rejected, since a release has no gaps. Its record
                # then has one reason more than it has attempts before.
                kept.append(draw._replace(rejected=rejected, scores=scores))
        return kept

    def _mix(self, batch: Batch) -> list[Mixed]:
        return [self.maker.mix(draw) for draw in batch]

    def _finish(
        self, kept: Sequence[Draw | None], mixings: Sequence[Mixing], images: NDArray[np.uint8], made: Samples
    ) -> int:
        done = 0
        for draw, mixing, pixels in zip(kept, mixings, images, strict=True):
            if draw is not None:
                made[draw.row.index] = self.maker.finish(draw, mixing, pixels)
                done += 1
        return done


def _batches(draws: Batch, size: int) -> list[Batch]:
    return [draws[start : start + size] for start in range(0, len(draws), size)]


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Batch], list[Mixed]], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, list[Mixed]]]:
    """Yield each batch with what `work` makes of it; the next batch is worked on meanwhile."""
    waiting = None
    for batch in batches:
        next_one = (batch, pool.submit(work, batch))
        if waiting is not None:
            yield waiting[0], waiting[1].result()
        waiting = next_one
    if waiting is not None:
        yield waiting[0], waiting[1].result()
