"""The embeddings of the images whose draws are settled, on the disk, to compare later images with."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Settled:
    """The embeddings of settled images, which come in the order of the release.

    `labels` (N,) are those of all images, `size` is D. The N x D numbers lie in a file of `folder` that goes
    when this object does, the rows of a class one after the other: memory holds those of one class.
    """

    def __init__(self, folder: Path, labels: NDArray[np.int32], size: int) -> None:
        # The index of the image in each row.
        self._indices = np.argsort(labels, kind="stable")
        self._first_rows = np.searchsorted(labels[self._indices], np.arange(int(labels.max()) + 2))
        self._counts = np.zeros(len(self._first_rows), dtype=np.int64)
        with tempfile.TemporaryFile(dir=folder) as stream:
            # It stays open as long as it is mapped.
            self._rows = np.memmap(stream, np.float32, "w+", shape=(len(labels), size))

    def add(self, label: int, embedding: NDArray[np.float32]) -> None:
        """Add the next image of a class by its embedding, (D,) of length 1."""
        self._rows[self._first_rows[label] + self._counts[label]] = embedding
        self._counts[label] += 1

    def nearest(self, label: int, embedding: NDArray[np.float32]) -> tuple[float, int] | None:
        """Return the largest similarity to a settled image of a class, and that image's index.

        Return None if there is none yet.
        """
        first, count = int(self._first_rows[label]), int(self._counts[label])
        if not count:
            return None
        # Row by row: in a product of matrices the last bits of a row depend on how many rows there are.
        similarities = np.vecdot(self._rows[first : first + count], embedding)
        row = int(similarities.argmax())
        # Rounding can carry a cosine a little beyond 1.
        return float(np.clip(similarities[row], -1, 1)), int(self._indices[first + row])
