"""Look for synthetic images that copy real ones: by nearest neighbours, perceptual and exact hashes.

The paper leaves it open (arXiv 2502.04475, appendix F) whether conditioned images reproduce training images.
Here every synthetic image is compared with every real image of the pool, and with every one that is held out
for scoring, if the data set has such a part. How near real images are to each other is reported too: what
counts as near depends on the data.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.generators.base import embed_as_vectors
from synthkit.release.audit import KEPT_PAIRS, QUANTILES, Audit, Pair, Part, suspicion
from synthkit.release.image import read_images
from synthkit.release.likeness import joined, look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.base import Generator
    from synthkit.inspection.near_duplicates import SyntheticViews
    from synthkit.release.image import StoredImage
    from synthkit.release.likeness import Limits, Views
    from synthkit.release.manifest import Manifest
    from synthkit.sources.pool import RealImages


class Synthetic(NamedTuple):
    """One image of a release with what an audit needs of its record."""

    key: str
    label: int
    class_name: str
    source_ids: frozenset[str]
    image: Image.Image


@dataclass(frozen=True, slots=True)
class Real:
    """The real images of a release, those of the pool first; `places` finds one by its pixels' SHA-256."""

    images: dict[Part, RealImages]
    names: list[str]
    parts: list[Part]
    views: Views
    places: dict[bytes, int]

    @property
    def pool(self) -> int:
        """The number of images in the pool."""
        return self.parts.count("pool")

    def load(self, pair: Pair) -> Image.Image:
        """Return the real image of a pair (RGB)."""
        images = self.images[pair.part]
        return images.load(images.listing.ids.index(pair.real))


def look_at_real(
    images: dict[Part, RealImages], generator: Generator, batch_size: int, advance: Callable[[int], None]
) -> Real:
    """Embed and hash the real images of the pool, and those held out."""
    names: list[str] = []
    parts: list[Part] = []
    seen: list[Views] = []
    for part, real in images.items():
        names += real.listing.ids
        parts += [part] * len(real.listing)
        for start in range(0, len(real.listing), batch_size):
            some = range(start, min(start + batch_size, len(real.listing)))
            seen.append(
                look_at([real.load(position) for position in some], partial(embed_as_vectors, generator))
            )
            advance(len(some))
    views = joined(seen)
    places = {pixels.tobytes(): place for place, pixels in enumerate(views.pixels)}
    return Real(images, names, parts, views, places)


def audit(
    images: Iterator[Sequence[Synthetic]],
    real: Real,
    generator: Generator,
    limits: Limits,
    seen: SyntheticViews,
    advance: Callable[[int], None],
) -> Audit:
    """Compare batches of synthetic images with the real ones; `seen` takes what was compared of them."""
    pairs: list[Pair] = []
    nearest = array("d")
    counts = {"suspected": 0, "held out": 0, "exact": 0}
    for batch in images:
        views = look_at([item.image for item in batch], partial(embed_as_vectors, generator))
        seen.add([item.label for item in batch], views)
        found = list(_compare(batch, views, real, limits))
        nearest.extend(pair.similarity for pair in found)
        counts["suspected"] += sum(pair.suspected for pair in found)
        counts["held out"] += sum(pair.suspected and pair.part == "held out" for pair in found)
        counts["exact"] += sum(pair.exact for pair in found)
        pairs = sorted([*pairs, *found], key=suspicion, reverse=True)[:KEPT_PAIRS]
        advance(len(batch))
    return Audit(
        images=len(nearest),
        pool=real.pool,
        held_out=len(real.names) - real.pool,
        limits=limits,
        suspected=counts["suspected"],
        suspected_of_held_out=counts["held out"],
        exact=counts["exact"],
        synthetic_to_real=_quantiles(nearest),
        real_to_real=_quantiles(_among_themselves(real.views.embeddings)),
        pairs=tuple(pairs),
    )


def synthetic_images(release: Path, manifest: Manifest, batch_size: int) -> Iterator[list[Synthetic]]:
    """Yield the images of a release in batches. Raises ReleaseError for a sample that is damaged."""
    images = (_synthetic(stored) for stored in read_images(release, manifest))
    while batch := list(islice(images, batch_size)):
        yield batch


def _synthetic(stored: StoredImage) -> Synthetic:
    record = stored.record
    ids = frozenset(source.id for source in record.sources)
    return Synthetic(record.key, record.label, record.class_name, ids, stored.pixels())


def _compare(batch: Sequence[Synthetic], views: Views, real: Real, limits: Limits) -> Iterator[Pair]:
    """Yield, for each synthetic image, its pair with the real image that it may be a copy of.

    That is the one with the same pixels; else the nearest by embedding; but if that one is not suspected,
    the nearest by pHash if it is.
    """
    similarities = views.embeddings @ real.views.embeddings.T
    distances = np.bitwise_count(views.hashes[:, None] ^ real.views.hashes[None, :])
    for row, item in enumerate(batch):
        place = real.places.get(views.pixels[row].tobytes(), int(similarities[row].argmax()))
        same_hash = int(distances[row].argmin())
        if similarities[row, place] < limits.similarity and distances[row, same_hash] <= limits.distance:
            place = same_hash
        similarity, distance = float(similarities[row, place]), int(distances[row, place])
        is_exact = bool((real.views.pixels[place] == views.pixels[row]).all())
        yield Pair(
            key=item.key,
            class_name=item.class_name,
            real=real.names[place],
            part=real.parts[place],
            similarity=round(similarity, 4),
            distance=distance,
            exact=is_exact,
            source=real.names[place] in item.source_ids,
            suspected=is_exact or similarity >= limits.similarity or distance <= limits.distance,
        )


def _among_themselves(embeddings: NDArray[np.float32]) -> list[float]:
    """Return, for each real image, its similarity to the nearest other one."""
    found: list[float] = []
    for start in range(0, len(embeddings), 512):
        block = embeddings[start : start + 512] @ embeddings.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -1
        found += block.max(axis=1).tolist()
    return found


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    return {f"{q:g}": round(float(np.quantile(values, q)), 4) for q in QUANTILES} if values else {}
