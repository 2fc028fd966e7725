"""The synthetic images of a release, read in any order: where each lies in its tar, and its label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ReleaseError
from synthkit.release.records import key_of
from synthkit.release.shard_reader import decode_image, read_label, samples
from synthkit.release.tar_members import opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.release.manifest import Manifest


@dataclass(frozen=True, slots=True)
class SyntheticImages:
    """N image files in tars: `labels`, `shards` (which tar), `offsets` and `sizes` in bytes are (N,).

    `size` is the width and height of every image. A webdataset reader gives the same samples in the order of
    the tars; a shuffle over all of them has to read in any order.
    """

    paths: tuple[Path, ...]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int32]
    extension: str
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        """Return the file of an image. Raises ReleaseError if the tar has become shorter."""
        path = self.paths[self.shards[index]]
        # Opened each time: a large release has more tars than a process may hold open.
        with path.open("rb", buffering=0) as stream:
            stream.seek(int(self.offsets[index]))
            content: bytes = stream.read(int(self.sizes[index]))
        if len(content) != self.sizes[index]:
            raise ReleaseError(f"{path}: was changed while it was read; run synthkit verify")
        return content

    def image(self, index: int) -> Image.Image:
        """Return an image as RGB. Raises ReleaseError if the file is not one that a build writes."""
        return decode_image(self.read(index), key_of(index), self.extension, self.size)


def open_synthetic(release: Path, manifest: Manifest) -> SyntheticImages:
    """Find every image of a release, in the order of its keys.

    Raises ReleaseError if a tar is damaged, or a label is not one of the manifest's classes.
    """
    size = (manifest.width, manifest.height)
    found = index_tars([release / shard.path for shard in manifest.shards], manifest.extension, size)
    labels = found.labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(manifest.classes):
        raise ReleaseError(f"{release}: has labels outside its classes; run synthkit verify {release}")
    return found


def index_tars(paths: Sequence[Path], extension: str, size: tuple[int, int]) -> SyntheticImages:
    """Find every sample in tars whose keys count on from one to the next.

    Raises ReleaseError if a tar cannot be read or holds anything else.
    """
    parts: list[NDArray[np.int64]] = []
    first = 0
    for path in paths:
        try:
            parts.append(np.asarray(list(_places(path, first, extension)), dtype=np.int64).reshape(-1, 3))
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path}: cannot be read: {error}; run synthkit verify") from error
        first += len(parts[-1])
    offsets, sizes, labels = np.concatenate(parts or [np.empty((0, 3), dtype=np.int64)]).T
    shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(part) for part in parts])
    return SyntheticImages(tuple(paths), shards, offsets, sizes, labels.astype(np.int32), extension, size)


def _places(path: Path, first: int, extension: str) -> Iterator[tuple[int, int, int]]:
    """Yield offset, size and label of each image of a tar."""
    with opened(path) as (stream, length):
        for parts in samples(stream, length, first, extension):
            image = parts[extension]
            yield image.offset, image.size, read_label(stream, parts)
