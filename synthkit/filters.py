"""Quality gates: why a draw is rejected. The same draws are judged the same, whatever their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.filter_config import Filters
    from synthkit.generators import Generator
    from synthkit.image_maker import Draw
    from synthkit.records import Listing


@dataclass(frozen=True, slots=True)
class Judge:
    """The gates of a recipe over one pool of real images.

    `real` is (N, D) float32, the embeddings f(x) of the pool scaled to length 1; `means` is (C, D), the
    mean of each class's, scaled too. Both are empty where no gate compares.
    """

    filters: Filters
    listing: Listing
    generator: Generator
    real: NDArray[np.float32]
    means: NDArray[np.float32]

    def reasons(self, draws: Sequence[Draw], images: NDArray[np.uint8]) -> list[str]:
        """Of each image, (N, H, W, 3) uint8, why it is rejected; empty if it is not."""
        embeddings = None
        if self.filters.compare:
            embeddings = unit(self.generator.embed_images([Image.fromarray(image) for image in images]))
        reasons = []
        for place, (draw, image) in enumerate(zip(draws, images, strict=True)):
            embedding = None if embeddings is None else embeddings[place]
            reasons.append("; ".join(self._reasons(draw, image, embedding)))
        return reasons

    def _reasons(
        self, draw: Draw, image: NDArray[np.uint8], embedding: NDArray[np.float32] | None
    ) -> Iterator[str]:
        filters = self.filters
        if filters.blank is not None:
            deviation = grey_deviation(image)
            if deviation < filters.blank.min_deviation:
                yield f"blank: deviation {deviation:.2f}"
        if embedding is None:
            return
        if filters.near_copy is not None:
            among = list(draw.row.sources) if filters.near_copy.among == "sources" else range(len(self.real))
            if len(among):
                similarities = self.real[among] @ embedding
                nearest = int(np.argmax(similarities))
                if similarities[nearest] > filters.near_copy.max_similarity:
                    name = self.listing.ids[among[nearest]]
                    yield f"near-copy: similarity {similarities[nearest]:.3f} to {name}"
        if filters.label_agreement is not None:
            agreement = self.means @ embedding
            rank = 1 + int((agreement > agreement[draw.row.label]).sum())
            if rank > filters.label_agreement.max_rank:
                nearest_class = self.listing.classes[int(agreement.argmax())]
                yield f"label-agreement: rank {rank}, nearest is {nearest_class}"


def make_judge(
    filters: Filters, listing: Listing, generator: Generator, embeddings: NDArray[np.float32] | None
) -> Judge:
    """The judge over a pool whose (N, D) embeddings are known, where a gate compares with them."""
    if embeddings is None:
        nothing = np.zeros((0, generator.embedding_size), dtype=np.float32)
        return Judge(filters, listing, generator, nothing, nothing)
    real = unit(embeddings)
    sums = np.zeros((len(listing.classes), real.shape[1]), dtype=np.float64)
    np.add.at(sums, listing.labels, real)
    return Judge(filters, listing, generator, real, unit(sums.astype(np.float32)))


def unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), dtype=np.float32)


def grey_deviation(image: NDArray[np.uint8]) -> float:
    """Standard deviation of an image's grey levels (ITU-R 601), 0 to 127.5."""
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(grey.std())
