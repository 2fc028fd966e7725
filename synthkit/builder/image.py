"""Images from planned rows: condition → generate → encode, and write each one's record.

An image depends on its row, its attempt and the shape of the batch alone, so a replay makes it again with the
same code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from synthkit.conditioning import METHODS, Mixing, draw_kept, drop, mix_pixels
from synthkit.generators.starting import Start
from synthkit.levels import draw_amount, start_pixels, steps_left
from synthkit.release.embedded_manifest import without_manifest
from synthkit.release.image_header import read_header
from synthkit.release.image_remark import with_mark
from synthkit.release.image_writer import encode, picture
from synthkit.release.marks import mark_of
from synthkit.release.records import KINDS, key_of, sampling_told
from synthkit.release.seeds import Stream, attempt_seed, stream
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.builder.signer import Signer
    from synthkit.generators.base import Generator
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.conditioning import Conditioning
    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import PlannedImage
    from synthkit.release.prompts import Prompts
    from synthkit.release.records import Candidate, Provenance, Score
    from synthkit.sources.pool import RealImages


class Draw(NamedTuple):
    """One attempt at a planned image; `rejected` says why others were, `scores` how it was judged.

    `candidates` are the draws of which it was preferred, itself included. `prompt` is that of a record, for a
    draw that is made again where its caption is not known.
    """

    row: PlannedImage
    attempt: int = 0
    rejected: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    prompt: str | None = None

    @property
    def seed(self) -> int:
        """The seed of this attempt; that of the first one is the row's seed."""
        return attempt_seed(self.row.seed, self.attempt)


def mixing_of(recipe: Recipe, draw: Draw, shape: tuple[int, ...]) -> Mixing:
    """Return how the embeddings, of a shape, of a draw's two sources are mixed.

    Raises ValueError for a method that mixes none, and for a shape that cannot be mixed so.
    """
    mix = METHODS[recipe.conditioning.method].embeddings
    if mix is None:
        raise ValueError(f"{recipe.conditioning.method} mixes no embeddings")
    return mix.draw(shape, alpha=recipe.conditioning.alpha, rng=stream(draw.seed, Stream.MIX))


def mixed_pixels(
    recipe: Recipe, draw: Draw, first: Image.Image, second: Image.Image
) -> tuple[NDArray[np.uint8], Mixing]:
    """Return the mix of a draw's two sources, (224, 224, 3), and how they were mixed.

    Raises ValueError for a method that mixes no pixels.
    """
    mix = METHODS[recipe.conditioning.method].pixels
    if mix is None:
        raise ValueError(f"{recipe.conditioning.method} mixes no pixels")
    rng = stream(draw.seed, Stream.MIX)
    return mix_pixels(mix, first, second, alpha=recipe.conditioning.alpha, rng=rng)


def strength_of(recipe: Recipe, draw: Draw) -> float:
    """Return how much the start of a draw is noised, for a method whose images begin from a real one."""
    strength = recipe.conditioning.strength
    assert strength is not None  # noqa: S101 (for the type checker)
    return draw_amount(strength, draw.row.level, rng=stream(draw.seed, Stream.STRENGTH))


def scale_of(recipe: Recipe, draw: Draw) -> float:
    """Return the weight of a draw's image against the text, for a recipe that has one."""
    scale = recipe.conditioning.scale
    assert scale is not None  # noqa: S101 (for the type checker)
    return draw_amount(scale, draw.row.level, rng=stream(draw.seed, Stream.SCALE))


class Mixed(NamedTuple):
    """What a draw is conditioned on, before dropout, and how it is mixed.

    It is an embedding, or `images` to be embedded: a mixed one, or the sources themselves, whose embeddings
    are mixed then. `start` is what its image begins from; None for noise alone.
    """

    mixing: Mixing
    embedding: NDArray[np.float32] | None = None
    images: tuple[Image.Image, ...] = ()
    start: Start | None = None


@dataclass(frozen=True, slots=True)
class ImageMaker:
    """Makes the images of a release of a format (`form`).

    `digest` is what its records state; `embeddings` are those of the real images, (N, D), if they are kept.
    Those of tokens are not: a source's are 1.3 MB, so they are computed for each batch. `signer` is None if
    the images are not signed.
    """

    recipe: Recipe
    digest: str
    prompts: Prompts
    real: RealImages
    checkpoint: Checkpoint
    generator: Generator
    embeddings: NDArray[np.float32] | None
    form: int
    signer: Signer | None = None

    def mix(self, draw: Draw) -> Mixed:
        """Read and mix the sources of a draw by the recipe's method, as far as the model is not needed."""
        method, sources = METHODS[self.recipe.conditioning.method], draw.row.sources
        if not sources:
            return Mixed(Mixing(), self.generator.null_embedding)
        if method.starts:
            pixels = start_pixels(self.real.load(sources[0]), self.generator.edge)
            start = Start(pixels, strength_of(self.recipe, draw))
            return Mixed(Mixing(), self.generator.null_embedding, start=start)
        if method.pixels is not None:
            from PIL import Image

            first, second = (self.real.load(position) for position in sources)
            pixels, mixing = mixed_pixels(self.recipe, draw, first, second)
            return Mixed(mixing, images=(Image.fromarray(pixels),))
        mix, mixing = method.embeddings, Mixing()
        if mix is not None:
            mixing = mixing_of(self.recipe, draw, self.generator.embedding_shape)
        if self.embeddings is None:
            return Mixed(mixing, images=tuple(self.real.load(position) for position in sources))
        first_e = self.embeddings[sources[0]]
        if mix is None:
            return Mixed(mixing, first_e)
        return Mixed(mixing, mix.apply(first_e, self.embeddings[sources[1]], mixing))

    def generate(self, draws: Sequence[Draw], mixed: Sequence[Mixed]) -> NDArray[np.uint8]:
        """Generate the images of at most a batch of draws, (N, H, W, 3) uint8."""
        return self.generate_from(self.conditions(draws, mixed), draws, [item.start for item in mixed])

    def conditions(self, draws: Sequence[Draw], mixed: Sequence[Mixed]) -> NDArray[np.float32]:
        """Return what at most a batch of draws are conditioned on: mixed embeddings after dropout."""
        embeddings = self._embed(mixed)
        if not METHODS[self.recipe.conditioning.method].drops:
            return embeddings
        null = self.generator.null_embedding
        dropped = [
            _dropped(embedding, null, draw.seed, self.recipe.conditioning)
            for embedding, draw in zip(embeddings, draws, strict=True)
        ]
        return np.stack(dropped)

    def generate_from(
        self, conditions: NDArray[np.float32], draws: Sequence[Draw], starts: Sequence[Start | None]
    ) -> NDArray[np.uint8]:
        """Generate images from what they are conditioned on and begin from, by any methods."""
        prompts = [self.prompt(draw) for draw in draws]
        seeds = [draw.seed for draw in draws]
        # Families that have none of these need not take them.
        given: dict[str, Any] = {}
        if self.recipe.conditioning.scale is not None:
            given["weights"] = [scale_of(self.recipe, draw) for draw in draws]
        if any(start is not None for start in starts):
            given["starts"] = starts
        if self.recipe.sampler.feedback is not None:
            given["labels"] = [draw.row.label for draw in draws]
        return self.generator.generate(conditions, prompts, seeds, **given)

    def alike(self, draws: Sequence[Draw]) -> list[Draw]:
        """Return draws with those together that a batch can hold: that begin at the same step.

        Draws of one image stay in the order of their attempts. No image depends on the others of its batch,
        so that none changes; but a batch of several beginnings takes as long as several batches.
        """
        if isinstance(self.recipe.conditioning.strength, float | None):
            return [*draws]
        recipe, steps = self.recipe, self.recipe.sampler.steps
        return sorted(draws, key=lambda draw: (draw.attempt, steps_left(steps, strength_of(recipe, draw))))

    def prompt(self, draw: Draw) -> str:
        """Return the prompt of a draw: the one that it states, else the one that its seed gives."""
        if draw.prompt is not None:
            return draw.prompt
        first = self.real.listing.ids[draw.row.sources[0]] if draw.row.sources else None
        return self.prompts.of(draw.row.label, draw.seed, first)

    def finish(self, draw: Draw, mixing: Mixing, pixels: NDArray[np.uint8]) -> tuple[Provenance, bytes]:
        """Write the image of a draw as a file, marked and signed; return its record and the file's bytes."""
        image = picture(pixels, self.recipe.output)
        record = self.record(draw, mixing, image.size)
        file = encode(image, self.recipe.output, mark_of(record, self.recipe.name))
        signed = self._signed(file, record)
        return msgspec.structs.replace(record, image_sha256=hashlib.sha256(signed).hexdigest()), signed

    def restated(self, record: Provenance, file: bytes, **told_now: Any) -> tuple[Provenance, bytes]:
        """Return an image with other values of some fields in its record; mark and signature follow it."""
        extension = self.recipe.output.extension
        told = msgspec.structs.replace(record, **told_now, image_sha256="")
        manifest = read_header(file, extension).c2pa
        bare = file if manifest is None else without_manifest(file, extension, manifest)
        signed = self._signed(with_mark(bare, extension, mark_of(told, self.recipe.name)), told)
        return msgspec.structs.replace(told, image_sha256=hashlib.sha256(signed).hexdigest()), signed

    def _signed(self, file: bytes, record: Provenance) -> bytes:
        if self.signer is None:
            return file
        return self.signer.sign(file, self.recipe.output.extension, record)

    def is_of(self, record: Provenance, row: PlannedImage) -> bool:
        """Return whether a record is that of a planned image."""
        said = (record.key, record.label, record.seed, record.sources)
        return said == (key_of(row.index), row.label, row.seed, self.real.named(row.sources))

    def _embed(self, mixed: Sequence[Mixed]) -> NDArray[np.float32]:
        images = [item.images for item in mixed]
        if not all(images):
            return np.stack([item.embedding for item in mixed if item.embedding is not None])
        # All first sources, then all second ones: each call has the batch's shape.
        columns = [self.generator.embed_images(column) for column in zip(*images, strict=True)]
        mix = METHODS[self.recipe.conditioning.method].embeddings
        if mix is None:
            return columns[0]
        rows = zip(*columns, mixed, strict=True)
        return np.stack([mix.apply(first, second, item.mixing) for first, second, item in rows])

    def record(self, draw: Draw, mixing: Mixing, size: tuple[int, int]) -> Provenance:
        """Return the record of a draw before its image is a file: the file's hash is empty.

        `size` is the width and height of the image in pixels.
        """
        recipe, row = self.recipe, draw.row
        name = self.real.listing.classes[row.label]
        drops = METHODS[recipe.conditioning.method].drops
        kind = KINDS[self.form]
        # Some of it not every format has.
        later: dict[str, Any] = {
            "scores": draw.scores,
            "candidates": draw.candidates,
            kind.DIGEST: self.digest,
            "synthkit_version": __version__,
            **sampling_told(recipe),
            **self._beside_scores(draw),
        }
        return kind(
            key=key_of(row.index),
            label=row.label,
            class_name=name,
            prompt=self.prompt(draw),
            method=recipe.conditioning.method,
            sources=self.real.named(row.sources),
            lam=mixing.lam,
            region=mixing.region,
            crops=mixing.crops,
            dropout=recipe.conditioning.dropout if drops else 0.0,
            seed=row.seed,
            model=self.checkpoint.name,
            revision=self.checkpoint.revision,
            batch_size=recipe.sampler.batch_size,
            width=size[0],
            height=size[1],
            image_sha256="",
            attempt=draw.attempt,
            rejected=draw.rejected,
            **{name: value for name, value in later.items() if name in kind.__struct_fields__},
        )

    def _beside_scores(self, draw: Draw) -> dict[str, Any]:
        """Return what a record tells of a draw only where its recipe asks for it."""
        conditioning, told = self.recipe.conditioning, dict[str, Any]()
        if conditioning.scale is not None:
            told["scale"] = scale_of(self.recipe, draw)
        if conditioning.strength is not None:
            told["strength"] = strength_of(self.recipe, draw)
        return told


def _dropped(
    embedding: NDArray[np.float32], null: NDArray[np.float32], seed: int, conditioning: Conditioning
) -> NDArray[np.float32]:
    probability, rng = conditioning.dropout, stream(seed, Stream.DROP)
    kept = draw_kept(embedding.shape, probability=probability, drops=conditioning.drops, rng=rng)
    return drop(embedding, kept, null=null, probability=probability, rescale=conditioning.rescale)
