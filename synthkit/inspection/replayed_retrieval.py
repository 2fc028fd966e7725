"""Images that were retrieved, read again: from the pool, if it is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit.builder.embeddings import compute
from synthkit.builder.nearest import Pick, class_means, similarities_to
from synthkit.errors import SourceError
from synthkit.inspection.recorded_sources import retrieved_of
from synthkit.inspection.replayed_scores import MOST_EMBEDDED
from synthkit.release.places import first_that_serves
from synthkit.release.real_images import check_digest
from synthkit.release.records import Provenance8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from synthkit.generators.base import Generator
    from synthkit.release.places import Received
    from synthkit.release.records import Provenance
    from synthkit.sources.pool import RealImages

# By so much similarities differ between processors.
_NEAR = 0.01


class ReplayedRetrieval:
    """Finds the images of the pool that some records retrieve, and computes their similarities again.

    These can be computed if the real images of the classes are here, and are at most `MOST_EMBEDDED`. Raises
    SourceError if an image of the pool is not here, or has another content than its record says.
    """

    def __init__(self, received: Received, records: Sequence[Provenance], generator: Generator) -> None:
        self.pool = retrieved_of(received, records)
        self._positions = {name: position for position, name in enumerate(self.pool.listing.ids)}
        self._records = {int(record.key): record for record in records if isinstance(record, Provenance8)}
        self._real = _real_images(received)
        self._similarities = (
            None if self._real is None else _similarities(received, self._real, self.pool, generator)
        )

    def pick(self, index: int) -> Pick:
        """Return what the record of an image retrieves, by its index, and how near that is, computed here."""
        record = self._records[index]
        position = self._positions[record.retrieved_id]
        known = self._similarities is not None and record.label < self._similarities.shape[1]
        if self._similarities is None or not known:
            return Pick(position, record.similarity)
        return Pick(position, float(self._similarities[position, record.label]))

    def faults(self, said: Provenance, *, same_platform: bool) -> Iterator[str]:
        """Yield a false similarity of a record, in words; on another platform it may differ a little."""
        if not isinstance(said, Provenance8):
            return
        if self._real is not None and said.retrieved_sha256 in self._real.sha256:
            yield f"its record retrieves {said.retrieved_id:.64}, which is a training image of the release"
        made = self.pick(int(said.key)).similarity
        if abs(said.similarity - made) > (0 if same_platform else _NEAR):
            yield f"its record's similarity is {said.similarity:g}, made again it is {made:g}"


def _real_images(received: Received) -> RealImages | None:
    """Return the training images of a release; None if they are too many, not here, or others."""
    if received.manifest.source.images > MOST_EMBEDDED:
        return None
    try:
        return first_that_serves(received, lambda place: check_digest(place, received.manifest))
    except SourceError:
        return None


def _similarities(
    received: Received, real: RealImages, pool: RealImages, generator: Generator
) -> NDArray[np.float64]:
    """Return (N, C): how near the images of the pool are to the classes."""
    batch = received.recipe.sampler.batch_size
    of_classes, of_pool = (
        compute(images, np.arange(len(images.listing), dtype=np.int32), generator, batch, lambda count: None)
        for images in (real, pool)
    )
    means = class_means(real.listing.labels, len(real.listing.classes), of_classes)
    return similarities_to(means, of_pool)
