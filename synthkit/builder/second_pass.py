"""The second pass of a build with `filters.near_duplicate`: what repeats an earlier image is drawn again.

The first pass draws every image, on any number of devices, until the other gates let it pass. This pass takes
the shards in order on one device. An image is compared with the images before it in its class, in the order
of the release, as they stand there in the end: so the outcome depends neither on who drew what, nor on kills,
nor on images that come later. Images are compared as their files have them, so that finished shards of an
earlier version of the release, whose draws nobody has any more, can be compared with too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import read_array, write_array
from synthkit.builder.image import Draw
from synthkit.builder.settled import Settled
from synthkit.errors import GeneratorError
from synthkit.generators.base import embed_as_vectors
from synthkit.release.likeness import unit
from synthkit.release.records import Provenance2, key_of
from synthkit.release.scores import REPEAT, rejection, score
from synthkit.release.shard_reader import decode_image, read_samples
from synthkit.release.shards import finished
from synthkit.system.stopping import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.builder.drafts import Samples
    from synthkit.builder.shard import Observer, ShardBuilder
    from synthkit.recipe.filters import Filters
    from synthkit.release.records import Provenance, Score
    from synthkit.release.shards import ShardFacts


@dataclass(slots=True)
class _Image:
    """An image of the shard in hand: its draw as it stands, and the embeddings of its draws that repeated."""

    record: Provenance2
    file: bytes
    embedding: NDArray[np.float32]
    repeats: dict[int, NDArray[np.float32]] = field(default_factory=dict)


class SecondPass:
    """Settles the draws of a release, shard by shard.

    `builder` draws images again and is for the folder of finished shards, `first_draws` is the folder of what
    the first pass made, and `kept` one that keeps the embeddings of finished shards for the next run.
    """

    def __init__(
        self, builder: ShardBuilder, filters: Filters, first_draws: Path, kept: Path, observer: Observer
    ) -> None:
        self._builder, self._filters, self._observer = builder, filters, observer
        self._first_draws, self._kept = first_draws, kept
        generator = builder.maker.generator
        kept.mkdir(exist_ok=True)
        self._settled = Settled(kept, builder.plan.labels, generator.embedding_shape[-1])

    def take(self, shard: int, facts: ShardFacts) -> None:
        """Take the images of a finished shard, to compare others with."""
        path = self._kept / f"{facts.sha256}.npy"
        embeddings = read_array(path, (facts.images, self._builder.maker.generator.embedding_shape[-1]))
        if embeddings is None:
            samples = [sample for _, sample in self._samples(self._builder.folder, shard)]
            embeddings = self._embedded(samples)
            write_array(path, embeddings)
        for index, embedding in zip(self._builder.plan.indices(shard), embeddings, strict=True):
            self._settled.add(int(self._builder.plan.labels[index]), embedding)

    def settle(self, shard: int) -> None:
        """Settle the draws of a shard, and write it. Raises Stopped if the observer wants a stop."""
        samples = dict(self._samples(self._first_draws, shard))
        embeddings = self._embedded(list(samples.values()))
        images = {
            index: _Image(record, file, embedding)
            for (index, (record, file)), embedding in zip(samples.items(), embeddings, strict=True)
            if isinstance(record, Provenance2)
        }
        waiting = list(images)
        settled: Samples = {}
        while waiting:
            waiting, again = self._judge(images, waiting, settled)
            self._draw(images, again)
        self._builder.write(shard, settled)
        facts = finished(self._builder.folder, self._builder.name(shard))
        if facts is not None:
            embeddings = np.stack([image.embedding for image in images.values()])
            write_array(self._kept / f"{facts.sha256}.npy", embeddings)

    def _judge(
        self, images: dict[int, _Image], waiting: Sequence[int], settled: Samples
    ) -> tuple[list[int], list[int]]:
        """Settle what can be settled; return what still waits, and which of that is to be drawn again.

        An image that repeats a settled one is drawn again, whatever comes of others. One that repeats none is
        settled if all images before it in its class are.
        """
        left, again, open_classes = list[int](), list[int](), set[int]()
        for index in waiting:
            image = images[index]
            label, attempt = image.record.label, image.record.attempt
            repeats = rejection(self._score(label, image.embedding), self._filters)
            if repeats and attempt + 1 < self._filters.max_draws:
                again.append(index)
            elif label not in open_classes:
                settled[index] = self._told(image)
                self._settled.add(label, image.embedding)
                continue
            open_classes.add(label)
            left.append(index)
        return left, again

    def _draw(self, images: dict[int, _Image], again: Sequence[int]) -> None:
        """Draw images again, from their next attempt on until the other gates let them pass."""
        made: Samples = {}
        plan = self._builder.plan
        draws = []
        for index in again:
            record = images[index].record
            images[index].repeats[record.attempt] = images[index].embedding
            # What it repeats is told when all images before it are settled.
            draws.append(Draw(plan.row(index), record.attempt + 1, (*record.rejected, "")))
        if not self._builder.draw(draws, made, self._observer):
            raise Stopped
        for index, embedding in zip(again, self._embedded([made[index] for index in again]), strict=True):
            drawn, file = made[index]
            assert isinstance(drawn, Provenance2)  # noqa: S101 (for the type checker)
            images[index] = _Image(drawn, file, embedding, images[index].repeats)

    def _told(self, image: _Image) -> tuple[Provenance, bytes]:
        """Return an image, all before it settled; its record says what it and its draws are near to."""
        record = image.record
        rejected = list(record.rejected)
        for attempt, embedding in image.repeats.items():
            rejected[attempt] = rejection(self._score(record.label, embedding), self._filters)
        scores = (*record.scores, *self._score(record.label, image.embedding))
        why = rejection(scores, self._filters)
        # The last draw is kept even if it is rejected.
        rejected[record.attempt :] = [why] if why else []
        return self._builder.maker.restated(record, image.file, rejected=tuple(rejected), scores=scores)

    def _score(self, label: int, embedding: NDArray[np.float32]) -> tuple[Score, ...]:
        """Return the score by the nearest settled image of a class; nothing if it has none yet."""
        found = self._settled.nearest(label, embedding)
        return () if found is None else (score(REPEAT, found[0], key_of(found[1])),)

    def _samples(self, folder: Path, shard: int) -> Iterator[tuple[int, tuple[Provenance, bytes]]]:
        indices, extension = self._builder.plan.indices(shard), self._builder.maker.recipe.output.extension
        tar = folder / self._builder.name(shard)
        return zip(indices, read_samples(tar, indices[0], extension, self._builder.maker.form), strict=True)

    def _embedded(self, samples: Sequence[tuple[Provenance, bytes]]) -> NDArray[np.float32]:
        """Return the embeddings of image files, (N, D) float32 of length 1."""
        maker = self._builder.maker
        size = self._builder.plan.batch_size
        parts = [np.zeros((0, maker.generator.embedding_shape[-1]), dtype=np.float32)]
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(samples), size):
                pictures = list(pool.map(self._picture, samples[start : start + size]))
                parts.append(unit(embed_as_vectors(maker.generator, pictures)))
                self._observer.alive()
        embeddings = np.concatenate(parts)
        if not np.isfinite(embeddings).all():
            raise GeneratorError("filters.near_duplicate: the model's embedding of an image is not numbers")
        return embeddings

    def _picture(self, sample: tuple[Provenance, bytes]) -> Image.Image:
        record, file = sample
        size = (record.width, record.height)
        return decode_image(file, record.key, self._builder.maker.recipe.output.extension, size)
