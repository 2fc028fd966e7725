"""The synthetic images of a release that train: where each lies in its shard, to be read in any order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ReleaseError, ScoreError
from synthkit.release.containers import container_of
from synthkit.release.containers.base import Shard
from synthkit.release.plan import balance_of, block_counts, numbers_in_class
from synthkit.release.records import key_of
from synthkit.release.shard_reader import decode_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.recipe.schema import Recipe
    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class SyntheticImages:
    """N image files in shards: `labels`, `shards` (which one), `offsets` and `sizes` in bytes are (N,).

    `numbers` (N,) are those of the images' keys in the release, which may have more images. `size` is the
    width and height of every image. A reader of shards gives the same samples in their order; a shuffle over
    all of them has to read in any order.
    """

    paths: tuple[Path, ...]
    numbers: NDArray[np.int64]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int32]
    extension: str
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        """Return the file of an image. Raises ReleaseError if the shard has become shorter."""
        path = self.paths[self.shards[index]]
        # Opened each time: a large release has more shards than a process may hold open.
        with path.open("rb", buffering=0) as stream:
            stream.seek(int(self.offsets[index]))
            content: bytes = stream.read(int(self.sizes[index]))
        if len(content) != self.sizes[index]:
            raise ReleaseError(f"{path}: was changed while it was read; run synthkit verify")
        return content

    def image(self, index: int) -> Image.Image:
        """Return an image as RGB. Raises ReleaseError if the file is not one that a build writes."""
        return decode_image(self.read(index), key_of(int(self.numbers[index])), self.extension, self.size)

    def of(self, chosen: NDArray[np.int64]) -> SyntheticImages:
        """Return some of these images, those at the places `chosen`."""
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        return replace(self, **columns)


_COLUMNS = ("numbers", "shards", "offsets", "sizes", "labels")


def used_of(manifest: Manifest, per_class: int | None) -> tuple[int, ...]:
    """Return how many images of each class train: its first `per_class`, or all if it has fewer, or if None.

    Raises ScoreError if no class has so many.
    """
    counts = [item.synthetic for item in manifest.classes]
    if per_class is not None and per_class > max(counts, default=0):
        raise ScoreError(
            f"batches.synthetic_per_class: is {per_class}, but {manifest.name} has {max(counts, default=0)} "
            "images of a class at most; lower it, or build more"
        )
    return tuple(counts if per_class is None else (min(count, per_class) for count in counts))


def open_used(folder: Path, manifest: Manifest, recipe: Recipe, per_class: int | None) -> SyntheticImages:
    """Find the images of a release that train, in the order of their keys, as `used_of` counts them.

    The first images of a class are those that were planned first, so that a release built with so many images
    of each class has the same ones. Raises ReleaseError as `open_synthetic` does, or if the release is not in
    the order of its plan.
    """
    images = open_synthetic(folder, manifest)
    if per_class is None:
        return images
    real = [item.real for item in manifest.classes]
    counts = block_counts(recipe, balance_of(recipe, [item.name for item in manifest.classes], real))
    numbers = numbers_in_class(recipe.seed, counts)
    used = used_of(manifest, per_class)
    if len(numbers) == len(images):
        found = images.of(np.flatnonzero(numbers < per_class))
        if np.bincount(found.labels, minlength=len(used)).tolist() == list(used):
            return found
    raise ReleaseError(f"{folder}: has other images than its recipe plans; run synthkit verify {folder}")


def open_synthetic(release: Path, manifest: Manifest) -> SyntheticImages:
    """Find every image of a release, in the order of its keys.

    Raises ReleaseError if a shard is damaged, or a label is not one of the manifest's classes.
    """
    size = (manifest.width, manifest.height)
    paths = [release / shard.path for shard in manifest.shards]
    found = index_shards(paths, manifest.extension, size, manifest.format_version)
    labels = found.labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(manifest.classes):
        raise ReleaseError(f"{release}: has labels outside its classes; run synthkit verify {release}")
    return found


def index_shards(paths: Sequence[Path], extension: str, size: tuple[int, int], form: int) -> SyntheticImages:
    """Find every sample in shards whose keys count on from one to the next; `form` is the release's format.

    Raises ReleaseError if a shard cannot be read or holds anything else.
    """
    parts: list[NDArray[np.int64]] = []
    first = 0
    for path in paths:
        try:
            places = list(container_of(path).places(Shard(path, first, extension, form)))
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path}: cannot be read: {error}; run synthkit verify") from error
        parts.append(np.asarray(places, dtype=np.int64).reshape(-1, 3))
        first += len(places)
    offsets, sizes, labels = np.concatenate(parts or [np.empty((0, 3), dtype=np.int64)]).T
    shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(part) for part in parts])
    numbers = np.arange(len(labels))
    return SyntheticImages(
        tuple(paths), numbers, shards, offsets, sizes, labels.astype(np.int32), extension, size
    )
