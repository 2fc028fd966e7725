"""Quality gates, a recipe's `filters`: they give each draw its scores, by which it is kept or rejected.

They also ask the classifier by which one of several draws is preferred.

What they say of an image does not depend on the other images of its batch, nor on classes that a release got
later than the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.generators.base import embed_as_vectors
from synthkit.release.candidates import candidate, logits_by_means, rank_of
from synthkit.release.likeness import unit
from synthkit.release.scores import COPY, DEVIATION, PROBABILITY, RANK, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from synthkit.builder.classifier import Classifier
    from synthkit.builder.image import Draw
    from synthkit.generators.base import Generator
    from synthkit.recipe.filters import Filters, NearCopy
    from synthkit.release.blocks import Blocks
    from synthkit.release.records import Candidate, Score
    from synthkit.sources.base import Listing


@dataclass(frozen=True, slots=True)
class Pool:
    """The real images that the images of a block are compared with: those of the classes there were then.

    `positions` (N,) are theirs in the listing, `real` (N, D) float32 their embeddings f(x), scaled to length
    1, and `means` (C, D) the mean of each class's embeddings, scaled to length 1 too.
    """

    positions: NDArray[np.intp]
    real: NDArray[np.float32]
    means: NDArray[np.float32]


class Judged(NamedTuple):
    """What the gates say of a draw; `candidate` is what the classifier says that draws are preferred by."""

    scores: tuple[Score, ...]
    candidate: Candidate | None = None


class Seen(NamedTuple):
    """What networks say of an image, for the filters that ask them.

    `embedding` (D,) is of length 1; `probabilities` (C,) are what the classifier of `label_agreement` says,
    `logits` (C,) what that of `prefer` says. None where nobody asks.
    """

    embedding: NDArray[np.float32] | None
    probabilities: NDArray[np.float32] | None
    logits: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Gates:
    """The quality gates of a recipe.

    `real` (N, D) are the embeddings of all real images, scaled to length 1, and `pools` has the pool of each
    block; both are empty if no gate compares with real images. `classifiers` has those of filters that ask
    one that is a file, by the filter's name.
    """

    filters: Filters
    listing: Listing
    generator: Generator
    real: NDArray[np.float32]
    blocks: Blocks
    pools: Sequence[Pool] = ()
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)

    def judge(self, draws: Sequence[Draw], images: NDArray[np.uint8]) -> list[Judged]:
        """Return what the gates say of each of the images, (N, H, W, 3) uint8.

        Raises GeneratorError if a network gives something else than finite numbers.
        """
        rows = zip(draws, images, self._seen([Image.fromarray(image) for image in images]), strict=True)
        return [
            Judged(tuple(self._scores(draw, image, seen)), self._candidate(draw, seen))
            for draw, image, seen in rows
        ]

    def _seen(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        nothing = [None] * len(pictures)
        embeddings = self._embedded(pictures) if self.filters.compare else nothing
        # Two filters may ask the same classifier.
        said = {one: one.classify(pictures) for one in dict.fromkeys(self.classifiers.values())}
        label, prefer = (self.classifiers.get(name) for name in ("label_agreement", "prefer"))
        probabilities = said[label].probabilities if label else nothing
        logits = said[prefer].logits if prefer else nothing
        return [Seen(*row) for row in zip(embeddings, probabilities, logits, strict=True)]

    def knows(self, draw: Draw) -> bool:
        """Return whether the class of a draw is one of those that there were when its block was made."""
        return not self.pools or draw.row.label < len(self._pool(draw).means)

    def _embedded(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        embeddings = unit(embed_as_vectors(self.generator, pictures))
        if not np.isfinite(embeddings).all():
            raise GeneratorError(
                "filters: the model's embedding of an image has values that are no numbers; with --set "
                "model.dtype=float32 it computes in a wider range"
            )
        return embeddings

    def _scores(self, draw: Draw, image: NDArray[np.uint8], seen: Seen) -> Iterator[Score]:
        embedding, probabilities = seen.embedding, seen.probabilities
        if self.filters.blank is not None:
            yield score(DEVIATION, grey_deviation(image))
        if embedding is not None and self.filters.near_copy is not None:
            yield from self._copied(draw, embedding, self.filters.near_copy)
        if self.filters.label_agreement is None:
            return
        if probabilities is not None:
            yield self._ranked(draw, probabilities)
            yield score(PROBABILITY, probabilities[draw.row.label])
        elif embedding is not None:
            yield self._ranked(draw, self._pool(draw).means @ embedding)

    def _candidate(self, draw: Draw, seen: Seen) -> Candidate | None:
        """Return what the classifier says that draws are preferred by; None if the recipe prefers none."""
        if self.filters.prefer is None:
            return None
        if seen.logits is not None:
            return candidate(draw.attempt, draw.row.label, seen.logits)
        if seen.embedding is None:
            return None
        logits = logits_by_means(self._pool(draw).means @ seen.embedding)
        return candidate(draw.attempt, draw.row.label, logits)

    def _copied(self, draw: Draw, embedding: NDArray[np.float32], gate: NearCopy) -> Iterator[Score]:
        if gate.among == "sources":
            among = np.array(draw.row.sources, dtype=np.intp)
            real = self.real[among]
        else:
            pool = self._pool(draw)
            among, real = pool.positions, pool.real
        if not len(among):
            return
        similarities = real @ embedding
        nearest = int(np.argmax(similarities))
        # Rounding can carry a cosine a little beyond 1.
        similarity = float(np.clip(similarities[nearest], -1, 1))
        yield score(COPY, similarity, self.listing.ids[among[nearest]])

    def _ranked(self, draw: Draw, agreement: NDArray[np.float32]) -> Score:
        """Return the rank of an image's class, from how much it agrees with each class, (C,)."""
        label = draw.row.label
        rank = rank_of(label, agreement)
        # Of classes that agree equally, its own is the nearest.
        nearest = label if rank == 1 else int(agreement.argmax())
        return score(RANK, rank, self.listing.classes[nearest])

    def _pool(self, draw: Draw) -> Pool:
        return self.pools[self.blocks.block_with(draw.row.index)]


def make_gates(
    filters: Filters,
    listing: Listing,
    generator: Generator,
    embeddings: NDArray[np.float32] | None,
    classifiers: Mapping[str, Classifier],
    blocks: Blocks,
    classes: Sequence[int | None],
) -> Gates:
    """Return the gates over a pool; `embeddings` are the pool's, (N, D), if a gate compares with them.

    `classes` says how many classes there were when each earlier block was made; None for all there are now.
    """
    if embeddings is None or not filters.compare:
        nothing = np.zeros((0, generator.embedding_shape[-1]), dtype=np.float32)
        return Gates(filters, listing, generator, nothing, blocks, classifiers=classifiers)
    real = unit(embeddings)
    now = len(listing.classes)
    then = [*classes, *[None] * len(blocks.images)][: len(blocks.images)]
    counts = [min(count or now, now) for count in then]
    pools = {count: _pool_of(count, listing, real) for count in set(counts)}
    return Gates(filters, listing, generator, real, blocks, [pools[count] for count in counts], classifiers)


def _pool_of(classes: int, listing: Listing, real: NDArray[np.float32]) -> Pool:
    """Return the pool of the first `classes` classes; all arrays are as if there were no others."""
    positions = np.flatnonzero(listing.labels < classes)
    some = real if len(positions) == len(real) else real[positions]
    sums = np.zeros((classes, real.shape[1]), dtype=np.float64)
    np.add.at(sums, listing.labels[positions], some)
    return Pool(positions, some, unit(sums.astype(np.float32)))


def grey_deviation(image: NDArray[np.uint8]) -> float:
    """Return the standard deviation of an image's grey levels, 0 to 127.5.

    Source: ITU-R BT.601, the weights of red, green and blue.
    """
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(grey.std())
