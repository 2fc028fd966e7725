"""Finds near duplicates among the synthetic images of a release, and joins them into groups.

Pixels and hashes are compared over the whole release, embeddings within each class: those of all pairs of
1.16 million images would take two CPU cores many hours, those of each class take them minutes. Embeddings
wait in a file, and memory holds two blocks of them; what grows with the release is 60 bytes an image, and
three times as much for a moment.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from synthkit.inspection.hash_neighbours import near_pairs
from synthkit.release.audit import (
    KEPT_GROUPS,
    KEPT_MEMBERS,
    ClassShare,
    Duplicates,
    Group,
    share_of,
    worst_class,
)
from synthkit.release.records import key_of
from synthkit.system.files import naming_the_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthkit.release.likeness import Limits, Views

# Embeddings that are compared with as many others at a time.
_BLOCK = 2048
# Pairs that wait until they are joined together.
_WAITING = 1 << 20

_Pairs = tuple["NDArray[np.intp]", "NDArray[np.intp]"]


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of N images: `group` (N,) int32 is equal for images of one group.

    `exact`, `perceptual` and `embedding` (N,) bool say which images are near another one by that measure. An
    image that is near none is a group of its own.
    """

    group: NDArray[np.int32]
    exact: NDArray[np.bool_]
    perceptual: NDArray[np.bool_]
    embedding: NDArray[np.bool_]


class SyntheticViews:
    """What is compared of the synthetic images of a release, in order; a context manager.

    `counts` are the numbers of images of each class. Embeddings, of `size` coordinates each, wait in a file
    without a name in `folder`, class by class: 4.8 GB for 1.16 million images of 1024 coordinates. The file
    is gone when the block, or the process, ends.
    """

    def __init__(self, folder: Path, counts: Sequence[int], size: int) -> None:
        self._folder, self._size = folder, size
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed in __exit__)
        ends = np.cumsum(counts, dtype=np.int64)
        self._ends, self._next = ends, ends - counts
        self._images = np.zeros(ends[-1], dtype=np.int32)
        self.hashes = np.zeros(ends[-1], dtype=np.uint64)
        self.pixels = np.zeros((ends[-1], 32), dtype=np.uint8)
        self.labels = np.zeros(ends[-1], dtype=np.int32)
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What could not be written to a full disk is tried again here, and nobody needs it.
        with suppress(OSError):
            self._file.close()

    def __len__(self) -> int:
        return self._seen

    def add(self, labels: Sequence[int], views: Views) -> None:
        """Take the next images."""
        new = slice(self._seen, self._seen + len(labels))
        self.labels[new], self.hashes[new], self.pixels[new] = labels, views.hashes, views.pixels
        with naming_the_place(self._folder):
            for image, (label, embedding) in enumerate(
                zip(labels, views.embeddings, strict=True), self._seen
            ):
                row = int(self._next[label])
                self._next[label] += 1
                self._images[row] = image
                self._file.seek(row * embedding.nbytes)
                self._file.write(embedding.tobytes())
        self._seen = new.stop

    def classes(self) -> Iterator[range]:
        """Yield the rows of each class in the file."""
        first = 0
        for end in self._ends.tolist():
            yield range(first, end)
            first = end

    def near_embeddings(self, rows: range, similarity: float) -> Iterator[_Pairs]:
        """Yield all pairs of images in some rows whose embeddings have at least a similarity, by blocks."""
        for start in range(rows.start, rows.stop, _BLOCK):
            block = self._read(start, rows.stop)
            for other in range(start, rows.stop, _BLOCK):
                others = block if other == start else self._read(other, rows.stop)
                near = np.flatnonzero(block @ others.T >= similarity)
                first, second = start + near // len(others), other + near % len(others)
                # A block beside itself has each pair twice, and each image beside itself.
                once = first < second
                yield self._images[first[once]], self._images[second[once]]

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        count, width = min(_BLOCK, stop - start), self._size * 4
        self._file.seek(start * width)
        return np.frombuffer(self._file.read(count * width), dtype=np.float32).reshape(count, self._size)


def find_groups(seen: SyntheticViews, limits: Limits, advance: Callable[[int], None]) -> Groups:
    """Join images that are near by any measure into groups; `advance` is told of images that are compared.

    Two images are in one group if a chain of near images leads from one to the other. So each image of a
    group is near another one of it, not necessarily near all of them, and no order of work changes the
    groups.
    """
    groups = _Joined(len(seen))
    exact = _join_equal(seen.pixels.view("S32").ravel(), groups)
    perceptual = _join_hashes(seen.hashes, limits.distance, groups)
    embedding = np.zeros(len(seen), dtype=np.bool_)
    for rows in seen.classes():
        for first, second in seen.near_embeddings(rows, limits.similarity):
            embedding[first] = embedding[second] = True
            groups.join(first, second)
        advance(len(rows))
    return Groups(groups.numbers(), exact, perceptual, embedding)


def describe(groups: Groups, labels: NDArray[np.int32], classes: Sequence[str], limits: Limits) -> Duplicates:
    """Return what audit.json states of the groups; `labels` (N,) are places in the names of the classes."""
    sizes = np.bincount(groups.group)
    is_near = sizes[groups.group] > 1
    return Duplicates(
        limits=limits,
        groups=int((sizes > 1).sum()),
        in_groups=int(is_near.sum()),
        exact=int(groups.exact.sum()),
        perceptual=int(groups.perceptual.sum()),
        embedding=int(groups.embedding.sum()),
        classes=tuple(_shares(is_near, labels, classes)),
        largest=tuple(
            _group(np.flatnonzero(groups.group == number), groups, labels, classes)
            for number in _largest(groups.group, sizes)
        ),
    )


def _shares(
    is_near: NDArray[np.bool_], labels: NDArray[np.int32], classes: Sequence[str]
) -> list[ClassShare]:
    images = np.bincount(labels, minlength=len(classes)).tolist()
    near = np.bincount(labels[is_near], minlength=len(classes)).tolist()
    shares = (
        ClassShare(label, name, images[label], near[label], share_of(near[label], images[label]))
        for label, name in enumerate(classes)
        if near[label]
    )
    return sorted(shares, key=worst_class)


def _largest(group: NDArray[np.int32], sizes: NDArray[np.intp]) -> list[int]:
    """Return the numbers of the largest groups; of equal ones, that with the first image comes first."""
    numbers, first = np.unique(group, return_index=True)
    order = numbers[np.lexsort((first, -sizes[numbers]))][:KEPT_GROUPS]
    return [number for number in order.tolist() if sizes[number] > 1]


def _group(
    images: NDArray[np.intp], groups: Groups, labels: NDArray[np.int32], classes: Sequence[str]
) -> Group:
    return Group(
        images=len(images),
        exact=int(groups.exact[images].sum()),
        perceptual=int(groups.perceptual[images].sum()),
        embedding=int(groups.embedding[images].sum()),
        members={key_of(image): classes[labels[image]] for image in images[:KEPT_MEMBERS].tolist()},
    )


def _join_equal(values: NDArray[np.bytes_], groups: _Joined) -> NDArray[np.bool_]:
    """Join the images with equal values; return which those are."""
    _, first, place, counts = np.unique(values, return_index=True, return_inverse=True, return_counts=True)
    groups.join(np.arange(len(values)), first[place])
    return np.asarray(counts[place] > 1)


def _join_hashes(hashes: NDArray[np.uint64], distance: int, groups: _Joined) -> NDArray[np.bool_]:
    """Join the images with equal or near hashes; return which those are."""
    distinct, first, place, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    is_near = counts > 1
    groups.join(np.arange(len(hashes)), first[place])
    for one, other in near_pairs(distinct, distance):
        is_near[one] = is_near[other] = True
        groups.join(first[one], first[other])
    return np.asarray(is_near[place])


class _Joined:
    """Images that are joined, pair by pair, into groups."""

    def __init__(self, images: int) -> None:
        self._numbers = np.arange(images, dtype=np.int32)
        self._waiting: list[_Pairs] = []
        self._count = 0

    def join(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
        """Put the images of each pair into one group."""
        apart = self._numbers[first] != self._numbers[second]
        self._waiting.append((first[apart], second[apart]))
        self._count += int(apart.sum())
        if self._count >= _WAITING:
            self._settle()

    def numbers(self) -> NDArray[np.int32]:
        """Return the number of each image's group."""
        self._settle()
        return self._numbers

    def _settle(self) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if not self._count:
            return
        first, second = (self._numbers[np.concatenate(some)] for some in zip(*self._waiting, strict=True))
        images = len(self._numbers)
        graph = coo_array((np.ones(len(first), dtype=np.float32), (first, second)), shape=(images, images))
        self._numbers = connected_components(graph, directed=False)[1][self._numbers]
        self._waiting, self._count = [], 0
