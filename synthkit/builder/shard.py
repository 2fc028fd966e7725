"""One shard: condition its planned rows → generate → pass the quality gates → encode → write.

Three stages overlap: while the model makes a batch, one thread reads and mixes the sources of the next batch,
and another encodes the images of the last one. Images that the quality gates reject are drawn again, with the
next attempt's seed, in batches of their own. If one of several draws of an image is kept, they follow each
other, and memory holds the best one so far.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from synthkit.builder.choice import Choice, Standing
from synthkit.builder.drafts import draft_path, read_draft, write_draft
from synthkit.builder.image import Draw
from synthkit.release.candidates import draws_told
from synthkit.release.files import shard_name
from synthkit.release.records import candidates_of
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
    from synthkit.release.records import Provenance
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
        missing = self._missing(shard, made)
        observer.kept(self.plan.images_in(shard) - len({draw.row.index for draw in missing}))
        if not self.draw(missing, made, observer):
            write_draft(draft, made, self.origin, extension)
            raise Stopped
        self.write(shard, made)
        draft.unlink(missing_ok=True)

    def draw(self, draws: Batch, made: Samples, observer: Observer) -> bool:
        """Make draws, and the next ones of what the gates reject; add what is kept to `made`.

        Return whether all are made: not if the observer wants a stop. Then `made` has, of images of which
        some draws are made, the one to be kept so far.
        """
        filters = self.maker.recipe.filters
        while draws:
            choice = None if filters is None else Choice(filters)
            batches = _batches(self.maker.alike(draws), self.plan.batch_size)
            if self._make(batches, made, choice, observer) < len(batches):
                return False
            draws = [] if choice is None else choice.again
            if draws and observer.stopping:
                return False
        return True

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
        """Return the draws that every image of a shard gets and that are not made; `made` is of a draft."""
        return [
            draw for index in self.plan.indices(shard) for draw in self._rest(index, *made.get(index, ())[:1])
        ]

    def _rest(self, index: int, begun: Provenance | None = None) -> Iterator[Draw]:
        """Yield the draws of an image that are not made, given the record of those that are."""
        row = self.plan.row(index)
        first, told = 0, Draw(row)
        if begun is not None:
            candidates = candidates_of(begun) or ()
            first, told = draws_told(begun), Draw(row, rejected=begun.rejected, candidates=candidates)
        for attempt in range(first, self.maker.recipe.draws):
            yield told._replace(attempt=attempt)

    def _make(
        self, batches: Iterable[Batch], made: Samples, choice: Choice | None, observer: Observer
    ) -> int:
        """Make batches until told to stop; return how many were made."""
        count = 0
        with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as after:
            finishing = None
            for batch, mixed in _ahead(before, self._mix, batches):
                images = self.maker.generate(batch, mixed)
                standings = self._judged(batch, images, choice)
                count += 1
                if finishing is not None:
                    observer.made(finishing.result())
                # Not the mixed images themselves, which would stay in memory until then.
                mixings = [item.mixing for item in mixed]
                finishing = after.submit(self._finish, standings, mixings, images, made)
                if observer.stopping:
                    break
            if finishing is not None:
                observer.made(finishing.result())
        return count

    def _judged(
        self, batch: Batch, images: NDArray[np.uint8], choice: Choice | None
    ) -> list[Standing | None]:
        """Return how the images stand after these draws, None where there is nothing to keep."""
        if self.gates is None or choice is None:
            return [Standing(draw, is_kept=True, is_settled=True) for draw in batch]
        judged = self.gates.judge(batch, images)
        return [choice.take(draw, said) for draw, said in zip(batch, judged, strict=True)]

    def _mix(self, batch: Batch) -> list[Mixed]:
        return [self.maker.mix(draw) for draw in batch]

    def _finish(
        self,
        standings: Sequence[Standing | None],
        mixings: Sequence[Mixing],
        images: NDArray[np.uint8],
        made: Samples,
    ) -> int:
        """Add images as they stand to `made`; return how many of them are settled."""
        done = 0
        for standing, mixing, pixels in zip(standings, mixings, images, strict=True):
            if standing is not None:
                made[standing.draw.row.index] = self._finished(standing, mixing, pixels, made)
                done += standing.is_settled
        return done

    def _finished(
        self, standing: Standing, mixing: Mixing, pixels: NDArray[np.uint8], made: Samples
    ) -> tuple[Provenance, bytes]:
        draw = standing.draw
        if standing.is_kept:
            return self.maker.finish(draw, mixing, pixels)
        record, file = made[draw.row.index]
        return self.maker.restated(record, file, rejected=draw.rejected, candidates=draw.candidates)


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
