"""The rows of a batch: what each image is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from synthkit.generators.starting import Start


class Rows(NamedTuple):
    """Embeddings (N, …) float32, N prompts and seeds; weights, starts, labels as `Generator.generate` has."""

    embeddings: NDArray[np.float32]
    prompts: Sequence[str]
    seeds: Sequence[int]
    weights: Sequence[float] | None = None
    starts: Sequence[Start | None] | None = None
    labels: Sequence[int] | None = None

    def at(self, rows: Sequence[int]) -> Self:
        """Return some rows, in this order."""
        return type(self)(
            self.embeddings[[*rows]],
            [self.prompts[row] for row in rows],
            [self.seeds[row] for row in rows],
            None if self.weights is None else [self.weights[row] for row in rows],
            None if self.starts is None else [self.starts[row] for row in rows],
            None if self.labels is None else [self.labels[row] for row in rows],
        )


def padded(rows: Sequence[int], size: int) -> list[int]:
    """Return the rows, the last one repeated until there are `size`."""
    return [*rows, *[rows[-1]] * (size - len(rows))]


def by_kind(kinds: Sequence[Hashable], make: Callable[[list[int]], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the images of rows, those of each kind made apart, in batches of the same size."""
    if len(set(kinds)) == 1:
        return make([*range(len(kinds))])
    made: dict[int, NDArray[np.uint8]] = {}
    for kind in dict.fromkeys(kinds):
        rows = [row for row, other in enumerate(kinds) if other == kind]
        made |= dict(zip(rows, make(rows), strict=True))
    return np.stack([made[row] for row in range(len(kinds))])
