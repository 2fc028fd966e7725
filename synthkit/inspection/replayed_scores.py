"""The scores of images that are made again, as far as what their gates compare with is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import compute
from synthkit.builder.filters import Gates, Judged, make_gates
from synthkit.errors import ReleaseError, SourceError
from synthkit.generators.base import embed_as_vectors
from synthkit.release.blocks import Blocks
from synthkit.release.image import read_image
from synthkit.release.likeness import unit
from synthkit.release.places import first_that_serves
from synthkit.release.real_images import check_digest
from synthkit.release.records import Provenance2
from synthkit.release.scores import REPEAT, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synthkit.builder.image import Draw
    from synthkit.generators.base import Generator
    from synthkit.recipe.filters import Filters
    from synthkit.release.image import StoredImage
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance, Score
    from synthkit.sources.pool import RealImages

# More real images are not embedded for the sake of a few images that are made again: it can take an hour.
MOST_EMBEDDED = 10_000


class ReplayedScores:
    """Gives images that are made again their scores.

    `real` are the real images that the records name, `embeddings` theirs. Gates that compare with the whole
    pool are asked if it is here and has at most `MOST_EMBEDDED` images. A classifier that is a file is not
    asked: it is one of whoever built the release.
    """

    def __init__(
        self,
        received: Received,
        real: RealImages,
        generator: Generator,
        embeddings: NDArray[np.float32] | None,
    ) -> None:
        self._received, self._generator = received, generator
        self._gates: list[Gates] = []
        filters = received.recipe.filters
        if filters is None or received.manifest.format_version == 1:
            return
        own = _with_own_sources(filters)
        if _any(own):
            self._gates.append(self._made(own, real, embeddings))
        others = _with_the_pool(filters)
        if _any(others) and received.manifest.source.images <= MOST_EMBEDDED:
            self._gates += self._over_pool(others)

    def of(self, draws: Sequence[Draw], images: NDArray[np.uint8]) -> list[Judged]:
        """Return what gates say of images, (N, H, W, 3) uint8, as far as it can be computed here."""
        found = [Judged(()) for _ in draws]
        for gates in self._gates:
            # A record may state any class.
            rows = [row for row, draw in enumerate(draws) if gates.knows(draw)]
            if rows:
                judged = gates.judge([draws[row] for row in rows], images[rows])
                for row, (scores, candidate) in zip(rows, judged, strict=True):
                    before = found[row]
                    found[row] = Judged((*before.scores, *scores), candidate or before.candidate)
        return found

    def repeated(self, stored: StoredImage) -> list[Score]:
        """Return how alike an image is to the earlier one that its record names as the nearest.

        Whether another one is nearer, only a comparison with all of them tells.
        """
        named = [item.nearest for item in _scores_of(stored.record) if item.name == REPEAT]
        if not named:
            return []
        try:
            nearest = read_image(self._received.folder, self._received.manifest, named[0])
        except ReleaseError:
            return []  # `verify` says what is wrong with it.
        one, other = unit(embed_as_vectors(self._generator, [stored.pixels(), nearest.pixels()]))
        return [score(REPEAT, float(np.clip(np.vecdot(one, other), -1, 1)), named[0])]

    def _over_pool(self, filters: Filters) -> list[Gates]:
        """Return the gates that compare with the pool; none if it is not here, or is another one."""
        received = self._received
        try:
            pool = first_that_serves(received, lambda place: check_digest(place, received.manifest))
        except SourceError:
            return []
        every = np.arange(len(pool.listing), dtype=np.int32)
        batch = received.recipe.sampler.batch_size
        embeddings = compute(pool, every, self._generator, batch, lambda count: None)
        return [self._made(filters, pool, embeddings)]

    def _made(self, filters: Filters, real: RealImages, embeddings: NDArray[np.float32] | None) -> Gates:
        manifest, recipe = self._received.manifest, self._received.recipe
        earlier = [block.images for block in manifest.grown]
        blocks = Blocks((*earlier, manifest.images - sum(earlier)), recipe.output.shard_size)
        classes = [item.classes for item in recipe.earlier]
        return make_gates(filters, real.listing, self._generator, embeddings, {}, blocks, classes)


def _scores_of(record: Provenance) -> tuple[Score, ...]:
    return record.scores if isinstance(record, Provenance2) else ()


def _with_own_sources(filters: Filters) -> Filters:
    """Return the gates that need an image and its own real images."""
    copy = filters.near_copy
    own = copy if copy is not None and copy.among == "sources" else None
    return filters.model_copy(update={"near_copy": own, "label_agreement": None, "prefer": None})


def _with_the_pool(filters: Filters) -> Filters:
    """Return the gates that compare an image with all real images."""
    copy, label, prefer = filters.near_copy, filters.label_agreement, filters.prefer
    return filters.model_copy(
        update={
            "blank": None,
            "near_copy": copy if copy is not None and copy.among == "pool" else None,
            "label_agreement": label if label is not None and label.classifier is None else None,
            "prefer": prefer if prefer is not None and prefer.classifier is None else None,
        }
    )


def _any(filters: Filters) -> bool:
    return bool(filters.blank or filters.near_copy or filters.label_agreement or filters.prefer)
