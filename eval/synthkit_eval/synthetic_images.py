"""The synthetic images of a release by number: where each lies in its tar, and its label."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthkit.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.manifest import Manifest


@dataclass(frozen=True, slots=True)
class SyntheticImages:
    """Image files in tars, read at random: `labels`, `shards`, `offsets` and `sizes` are (N,).

    A webdataset reader gives the same samples one after the other; an even shuffle needs all at once.
    """

    paths: tuple[Path, ...]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> bytes:
        """The file of an image. Raises ReleaseError if the tar has become shorter."""
        path = self.paths[self.shards[index]]
        # Opened each time: a large release has more tars than a process may hold open.
        with path.open("rb", buffering=0) as stream:
            stream.seek(int(self.offsets[index]))
            content: bytes = stream.read(int(self.sizes[index]))
        if len(content) != self.sizes[index]:
            raise ReleaseError(f"{path}: was changed while it was read; run synthkit verify")
        return content


def open_synthetic(release: Path, manifest: Manifest) -> SyntheticImages:
    """Every image of a release, in the order of its keys.

    Raises ReleaseError if a tar is damaged or a label is none of the manifest's classes.
    """
    found = index_tars([release / shard.path for shard in manifest.shards], manifest.extension)
    labels = found.labels
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(manifest.classes):
        raise ReleaseError(f"{release}: has labels outside its classes; run synthkit verify {release}")
    return found


def index_tars(paths: Sequence[Path], extension: str) -> SyntheticImages:
    """Every image file (KEY.extension) with a label (KEY.cls) in some tars. Raises ReleaseError."""
    parts: list[NDArray[np.int64]] = []
    for path in paths:
        try:
            parts.append(np.asarray(list(_members(path, extension)), dtype=np.int64).reshape(-1, 3))
        except (OSError, ValueError, KeyError, tarfile.TarError) as error:
            raise ReleaseError(f"{path}: cannot be read: {error}; run synthkit verify") from error
    offsets, sizes, labels = np.concatenate(parts or [np.empty((0, 3), dtype=np.int64)]).T
    shards = np.repeat(np.arange(len(paths), dtype=np.int32), [len(part) for part in parts])
    return SyntheticImages(tuple(paths), shards, offsets, sizes, labels.astype(np.int32))


def _members(path: Path, extension: str) -> Iterator[tuple[int, int, int]]:
    """Offset, size and label of each image of a tar."""
    labels: dict[str, int] = {}
    places: dict[str, tuple[int, int]] = {}
    with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            if kind == "cls":
                content = tar.extractfile(member)
                labels[key] = int(content.read(20)) if content else -1
            elif kind == extension:
                places[key] = (member.offset_data, member.size)
    for key, (offset, size) in places.items():
        yield offset, size, labels[key]
