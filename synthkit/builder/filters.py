"""Quality gates, a recipe's `filters`: they say which draws are rejected, and why.

What they say of an image does not depend on the other images of its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synthkit.release.likeness import unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.builder.classifier import Classifier
    from synthkit.builder.image import Draw
    from synthkit.generators.base import Generator
    from synthkit.recipe.filters import Filters, LabelAgreement, NearCopy
    from synthkit.sources.base import Listing


@dataclass(frozen=True, slots=True)
class Gates:
    """The quality gates of a recipe, for one pool of real images.

    `real` is (N, D) float32: the embeddings f(x) of the pool, scaled to length 1. `means` is (C, D): the mean
    of each class's embeddings, scaled to length 1 too. Both are empty if no gate compares with real images.
    """

    filters: Filters
    listing: Listing
    generator: Generator
    real: NDArray[np.float32]
    means: NDArray[np.float32]
    classifier: Classifier | None = None

    def reasons(self, draws: Sequence[Draw], images: NDArray[np.uint8]) -> list[str]:
        """Return why each of the images, (N, H, W, 3) uint8, is rejected; an empty text if it is not."""
        pictures = [Image.fromarray(image) for image in images]
        nothing = [None] * len(pictures)
        embeddings = unit(self.generator.embed_images(pictures)) if self.filters.compare else nothing
        scores = self.classifier.probabilities(pictures) if self.classifier else nothing
        rows = zip(draws, images, embeddings, scores, strict=True)
        return ["; ".join(self._reasons(*row)) for row in rows]

    def _reasons(
        self,
        draw: Draw,
        image: NDArray[np.uint8],
        embedding: NDArray[np.float32] | None,
        scores: NDArray[np.float32] | None,
    ) -> Iterator[str]:
        blank = self.filters.blank
        if blank is not None and (deviation := grey_deviation(image)) < blank.min_deviation:
            yield f"blank: deviation {deviation:.2f}"
        if embedding is not None and self.filters.near_copy is not None:
            yield from self._copied(draw, embedding, self.filters.near_copy)
        if self.filters.label_agreement is None:
            return
        if scores is None and embedding is not None:
            scores = self.means @ embedding
        if scores is not None:
            yield from self._mistaken(draw, scores, self.filters.label_agreement)

    def _copied(self, draw: Draw, embedding: NDArray[np.float32], gate: NearCopy) -> Iterator[str]:
        among = np.array(draw.row.sources) if gate.among == "sources" else np.arange(len(self.real))
        if not len(among):
            return
        similarities = self.real[among] @ embedding
        nearest = int(np.argmax(similarities))
        if similarities[nearest] > gate.max_similarity:
            yield f"near-copy: similarity {similarities[nearest]:.3f} to {self.listing.ids[among[nearest]]}"

    def _mistaken(self, draw: Draw, scores: NDArray[np.float32], gate: LabelAgreement) -> Iterator[str]:
        label = draw.row.label
        rank = 1 + int((scores > scores[label]).sum())
        if rank > gate.max_rank:
            yield f"label-agreement: rank {rank}, nearest is {self.listing.classes[int(scores.argmax())]}"
        elif scores[label] < gate.min_probability:
            yield f"label-agreement: probability {scores[label]:.3f}"


def make_gates(
    filters: Filters,
    listing: Listing,
    generator: Generator,
    embeddings: NDArray[np.float32] | None,
    classifier: Classifier | None,
) -> Gates:
    """Return the gates over a pool; `embeddings` are the pool's, (N, D), if a gate compares with them."""
    if embeddings is None or not filters.compare:
        nothing = np.zeros((0, generator.embedding_size), dtype=np.float32)
        return Gates(filters, listing, generator, nothing, nothing, classifier)
    real = unit(embeddings)
    sums = np.zeros((len(listing.classes), real.shape[1]), dtype=np.float64)
    np.add.at(sums, listing.labels, real)
    return Gates(filters, listing, generator, real, unit(sums.astype(np.float32)), classifier)


def grey_deviation(image: NDArray[np.uint8]) -> float:
    """Return the standard deviation of an image's grey levels, 0 to 127.5.

    Source: ITU-R BT.601, the weights of red, green and blue.
    """
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(grey.std())
