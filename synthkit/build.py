"""One shard: planned rows → conditioned → generated → encoded → written.

Three stages overlap: while the model makes a batch, the next one's sources are read and mixed, and
the last one's images are encoded and written.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit import __version__
from synthkit.conditioning import METHODS, Mixing, Stream, drop, stream
from synthkit.encoding import encode
from synthkit.records import Provenance, key_of
from synthkit.shards import ShardWriter, shard_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators import Generator
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.plan import Plan
    from synthkit.real_images import RealImages
    from synthkit.recipe import Conditioning, Recipe
    from synthkit.records import PlannedImage

Batch = list["PlannedImage"]


@dataclass(frozen=True, slots=True)
class Mixed:
    """A planned image before the model: what was mixed, in pixels or as an embedding, and how."""

    pixels: Image.Image | None
    embedding: NDArray[np.float32] | None
    mixing: Mixing


@dataclass(frozen=True, slots=True)
class ShardBuilder:
    """Everything that is the same for all shards of a release. `embeddings` is (N sources, D)."""

    recipe: Recipe
    digest: str
    plan: Plan
    real: RealImages
    checkpoint: Checkpoint
    generator: Generator
    embeddings: NDArray[np.float32] | None
    folder: Path

    def build(self, shard: int, advance: Callable[[int], None]) -> None:
        """Write one shard; `advance` is told of every batch that is written."""
        name = shard_name(shard, self.plan.shards)
        with (
            ThreadPoolExecutor(1) as before,
            ThreadPoolExecutor(1) as after,
            ShardWriter(self.folder, name, self.recipe.output.extension) as writer,
        ):
            writing = None
            for batch, mixed in _ahead(before, self._mix_batch, self.plan.batches(shard)):
                images = self.generate(batch, mixed)
                if writing is not None:
                    advance(writing.result())
                writing = after.submit(self._write, writer, batch, mixed, images)
            if writing is not None:
                advance(writing.result())

    def generate(self, batch: Batch, mixed: Sequence[Mixed]) -> NDArray[np.uint8]:
        """The images of a batch, (N, H, W, 3) uint8."""
        embeddings = self._embed(mixed)
        if METHODS[self.recipe.conditioning.method].drops:
            embeddings = np.stack(
                [
                    _dropped(e, row.seed, self.recipe.conditioning)
                    for e, row in zip(embeddings, batch, strict=True)
                ]
            )
        prompts = [self.recipe.prompt_for(self.real.listing.classes[row.label]) for row in batch]
        return self.generator.generate(embeddings, prompts, [row.seed for row in batch])

    def mix(self, row: PlannedImage) -> Mixed:
        """The augmented conditioning of one planned image, up to the point where the model embeds it."""
        method, alpha = METHODS[self.recipe.conditioning.method], self.recipe.conditioning.alpha
        rng = stream(row.seed, Stream.MIX)
        if method.pixels is not None:
            from PIL import Image

            first, second = (self.real.load(position) for position in row.sources)
            pixels, mixing = method.pixels(first, second, alpha=alpha, rng=rng)
            return Mixed(Image.fromarray(pixels), None, mixing)
        if self.embeddings is None:
            return Mixed(None, np.zeros(self.generator.embedding_size, np.float32), Mixing())
        if method.embeddings is not None:
            first_e, second_e = self.embeddings[list(row.sources)]
            embedding, mixing = method.embeddings(first_e, second_e, alpha=alpha, rng=rng)
            return Mixed(None, embedding, mixing)
        return Mixed(None, self.embeddings[row.sources[0]], Mixing())

    def _mix_batch(self, batch: Batch) -> list[Mixed]:
        return [self.mix(row) for row in batch]

    def _embed(self, mixed: Sequence[Mixed]) -> NDArray[np.float32]:
        pixels = [item.pixels for item in mixed if item.pixels is not None]
        if pixels:
            return self.generator.embed_images(pixels)
        return np.stack([item.embedding for item in mixed if item.embedding is not None])

    def _write(
        self, writer: ShardWriter, batch: Batch, mixed: Sequence[Mixed], images: NDArray[np.uint8]
    ) -> int:
        for row, item, pixels in zip(batch, mixed, images, strict=True):
            image, size = encode(pixels, self.recipe.output)
            writer.write(self._record(row, item.mixing, image, size), image)
        return len(batch)

    def _record(self, row: PlannedImage, mixing: Mixing, image: bytes, size: tuple[int, int]) -> Provenance:
        recipe, name = self.recipe, self.real.listing.classes[row.label]
        drops = METHODS[recipe.conditioning.method].drops
        return Provenance(
            key=key_of(row.index),
            label=row.label,
            class_name=name,
            prompt=recipe.prompt_for(name),
            method=recipe.conditioning.method,
            sources=self.real.named(row.sources),
            lam=mixing.lam,
            region=mixing.region,
            crops=mixing.crops,
            dropout=recipe.conditioning.dropout if drops else 0.0,
            guidance_scale=recipe.sampler.guidance_scale,
            steps=recipe.sampler.steps,
            scheduler=recipe.sampler.scheduler,
            noise_level=recipe.sampler.noise_level,
            seed=row.seed,
            model=self.checkpoint.name,
            revision=self.checkpoint.revision,
            batch_size=recipe.sampler.batch_size,
            width=size[0],
            height=size[1],
            image_sha256=hashlib.sha256(image).hexdigest(),
            attempt=0,
            rejected=(),
            recipe_digest=self.digest,
            synthkit_version=__version__,
        )


def _dropped(embedding: NDArray[np.float32], seed: int, conditioning: Conditioning) -> NDArray[np.float32]:
    rng = stream(seed, Stream.DROP)
    return drop(embedding, probability=conditioning.dropout, rescale=conditioning.rescale, rng=rng)


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
