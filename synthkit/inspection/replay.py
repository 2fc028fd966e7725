"""Make images of a release again: from its recipe and its records, the real images and the model.

A record holds everything that decides its image. The record is made again too, and the two are compared: what
a record states must follow from the recipe, the plan and the real images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import compute, kept_for_mixing, needed
from synthkit.builder.image import Draw, ImageMaker
from synthkit.builder.retrieved_image import RetrievedMaker
from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError
from synthkit.generators import choose_device_for, environment_of, load
from synthkit.generators.guide import open_guide
from synthkit.inspection.recorded_model import find_checkpoint
from synthkit.inspection.recorded_sources import sources_of
from synthkit.inspection.replayed_retrieval import ReplayedRetrieval
from synthkit.inspection.replayed_scores import ReplayedScores
from synthkit.release.captions import find_captions
from synthkit.release.embedded_manifest import without_manifest
from synthkit.release.feedback import find_classifier
from synthkit.release.files import TOKENS
from synthkit.release.image_header import read_header
from synthkit.release.image_writer import encode, picture
from synthkit.release.learned_tokens import read_tokens, vectors_of, words_of
from synthkit.release.manifest import leads_elsewhere
from synthkit.release.marks import mark_of
from synthkit.release.plan import PlannedImage
from synthkit.release.prompts import Prompts, first_source
from synthkit.sources.decoding import decode
from synthkit.sources.selection import Selected
from synthkit.system.environment import changed, describe
from synthkit.verification.replayed_record import RecordCheck, kept_faults, score_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.builder.filters import Judged
    from synthkit.conditioning import Mixing
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe
    from synthkit.release.image import StoredImage
    from synthkit.release.learned_tokens import Tokens
    from synthkit.release.manifest import Manifest
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance


@dataclass(frozen=True, slots=True)
class Replayed:
    """An image made again: its file, and how it differs from the file in the release.

    `identical` is True if both files have the same bytes. `psnr` is in dB over all channels, infinite for
    equal pixels; `largest` is the largest difference in grey levels, 0 to 255; `share` is the share of values
    that differ, 0 to 1. `false` holds a sentence for each thing that the image's record states wrongly.
    """

    key: str
    image: bytes
    identical: bool
    psnr: float
    largest: int
    share: float
    false: tuple[str, ...] = ()


class Replay:
    """Makes images of a release again, on a device of this machine. Creating it loads all that this takes.

    Raises SourceError if a real image is missing or has another content than its record says, GeneratorError
    if the model is missing or another one, and BuildError if the device is not here. `differences` says what
    of the environment is other than when the release was made.
    """

    def __init__(self, received: Received, stored: Sequence[StoredImage], device: str) -> None:
        manifest, recipe = received.manifest, received.recipe
        self._stored = stored
        checkpoint = find_checkpoint(received)
        device = choose_device_for(checkpoint, recipe.model.dtype, device)
        here = describe(device) | environment_of(checkpoint)
        made_in = [manifest.environment_of(int(item.record.key)) for item in stored]
        self.differences = sorted({text for environment in made_in for text in changed(environment, here)})
        real = sources_of(received, [item.record for item in stored])
        self._positions = {name: position for position, name in enumerate(real.listing.ids)}
        generator = load(checkpoint, recipe, device)
        embeddings = None
        if needed(recipe, generator):
            every = np.arange(len(real.listing), dtype=np.int32)
            embeddings = compute(real, every, generator, recipe.sampler.batch_size, lambda count: None)
        # The record names the model as the release does: it may have another name here. That the content is
        # the same, `find_checkpoint` makes sure of.
        named = replace(checkpoint, name=manifest.generator.name, revision=manifest.generator.revision)
        form = manifest.format_version
        digest = _digest(recipe, manifest, named)
        conditions = embeddings if kept_for_mixing(recipe, generator) else None
        captions = find_captions(received)
        tokens = _tokens(received)
        if tokens:
            generator.use_tokens(vectors_of(tokens))
        feedback = recipe.sampler.feedback
        if feedback is not None:
            weights = find_classifier(received.folder, manifest)
            classes = len(manifest.classes)
            generator.use_guide(open_guide(feedback.classifier, weights, classes, device))
        self._prompts = Prompts(recipe, real.listing.classes, captions, words_of(tokens))
        # Without the captions, the record says which prompt its image was made from.
        self.prompts_are_recorded = recipe.captions is not None and captions is None
        told = (recipe, digest, self._prompts, real, named, generator, conditions, form)
        self._maker, self._retrieval = ImageMaker(*told), None
        if METHODS[recipe.conditioning.method].retrieves:
            self._retrieval = ReplayedRetrieval(received, [item.record for item in stored], generator)
            found = self._retrieval
            self._maker = RetrievedMaker(*told, pool=found.pool, pick=found.pick)
        self._batch_size = recipe.sampler.batch_size
        every_one = real.source.source.listing if isinstance(real.source, Selected) else None
        self._check = RecordCheck(manifest, recipe, every_one, self._prompts)
        self._false = [*_false_shape(manifest, generator.embedding_shape)]
        self._scores = ReplayedScores(received, real, generator, embeddings)

    def run(self, advance: Callable[[int], None]) -> Iterator[Replayed]:
        """Yield the images in the order that they were asked for; they are made batch by batch."""
        for start in range(0, len(self._stored), self._batch_size):
            batch = self._stored[start : start + self._batch_size]
            draws = [self._draw(item.record) for item in batch]
            mixed = [self._maker.mix(draw) for draw in draws]
            images = self._maker.generate(draws, mixed)
            judged = self._scores.of(draws, images)
            for item, draw, how, pixels, said in zip(batch, draws, mixed, images, judged, strict=True):
                yield self._replayed(item, draw, how.mixing, pixels, said)
            advance(len(batch))

    def _replayed(
        self,
        item: StoredImage,
        draw: Draw,
        mixing: Mixing,
        pixels: NDArray[np.uint8],
        judged: Judged,
    ) -> Replayed:
        recipe = self._maker.recipe
        image = picture(pixels, recipe.output)
        record = self._maker.record(draw, mixing, image.size)
        # The mark holds the digest of a record: of the release's, so that files can be equal although that is
        # false, and told to be.
        file = encode(image, recipe.output, mark_of(item.record, recipe.name))
        found = compare(_unsigned(item), file)
        false = [*self._false, *self._check.false(item.record, record)]
        if self._retrieval is not None:
            false += self._retrieval.faults(item.record, same_platform=not self.differences)
        # Of another image, which another platform made, the scores are others too.
        if found.identical:
            scores, same_platform = [*judged.scores, *self._scores.repeated(item)], not self.differences
            false += score_faults(item.record, scores, same_platform=same_platform)
            false += kept_faults(item.record, judged.candidate, same_platform=same_platform)
        return replace(found, false=tuple(false))

    def _draw(self, record: Provenance) -> Draw:
        sources = tuple(self._positions[source.id] for source in record.sources)
        row = PlannedImage(int(record.key), record.label, sources, record.seed, self._check.level_of(record))
        draw = Draw(row, record.attempt, record.rejected)
        known = self._prompts.knows(record.label, draw.seed, first_source(record))
        return draw if known else draw._replace(prompt=record.prompt)


def _tokens(received: Received) -> Tokens:
    """Return the learned tokens that a release has; none for a method that learns none.

    Raises ReleaseError if they cannot be read.
    """
    if received.recipe.tokens is None:
        return {}
    path = received.folder / TOKENS
    if leads_elsewhere(received.folder, received.manifest, TOKENS):
        raise ReleaseError(f"{path}: is a link to something else than the manifest states")
    return read_tokens(path)


def _false_shape(manifest: Manifest, shape: tuple[int, ...]) -> Iterator[str]:
    """Yield a false statement of the manifest about the shape of embeddings, which only the model shows."""
    said, wanted = manifest.generator.embedding, shape if len(shape) == 2 else None
    if said != wanted:
        yield f"the manifest says that generator.embedding is {said}, the model's is {wanted}"


def _digest(recipe: Recipe, manifest: Manifest, checkpoint: Checkpoint) -> str:
    """Return the digest that records of the release must state, made from the recipe and the model here."""
    name, revision = checkpoint.name, checkpoint.revision
    if manifest.format_version > 1:
        return recipe.generation_digest(revision=revision, pool=manifest.pool_digest)
    return recipe.digest(listing_digest=manifest.source.digest, model=name, revision=revision, form=1)


def _unsigned(stored: StoredImage) -> StoredImage:
    """Return an image of a release without its signature, which only its signer can make again."""
    try:
        manifest = read_header(stored.image, stored.extension).c2pa
    except ValueError:
        # What is wrong with the file is told when it is decoded.
        manifest = None
    if manifest is None:
        return stored
    return replace(stored, image=without_manifest(stored.image, stored.extension, manifest))


def compare(stored: StoredImage, image: bytes) -> Replayed:
    """Compare an image of a release with its file made again.

    Raises UnreadableImage if the release's file is not an image.
    """
    key = stored.record.key
    if image == stored.image:
        return Replayed(key, image, identical=True, psnr=float("inf"), largest=0, share=0.0)
    before, now = (np.asarray(rgb, dtype=np.float64) for rgb in (stored.pixels(), decode(image, key)))
    if before.shape != now.shape:
        return Replayed(key, image, identical=False, psnr=0.0, largest=255, share=1.0)
    difference = np.abs(before - now)
    error = float(np.mean(difference**2))
    psnr = float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
    share = float(np.mean(difference > 0))
    return Replayed(key, image, identical=False, psnr=psnr, largest=int(difference.max()), share=share)
