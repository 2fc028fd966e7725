"""Which images of a pool are retrieved for which class: the nearest ones, each at most once.

How near an image is to a class: the cosine similarity of its embedding f(x) to the mean of the embeddings of
the class's real images, each scaled to length 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.release.likeness import unit
from synthkit.release.scores import DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Pick(NamedTuple):
    """What is retrieved for one planned image: a position in the pool, and its similarity to the class."""

    position: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What is retrieved for each planned image, (N,): a position in the pool, its similarity to the class."""

    positions: NDArray[np.intp]
    similarities: NDArray[np.float64]

    def pick(self, index: int) -> Pick:
        """Return what is retrieved for the planned image with an index."""
        return Pick(int(self.positions[index]), float(self.similarities[index]))


def class_means(
    labels: NDArray[np.int32], classes: int, embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (C, D): the mean of each class's embeddings, (N, D), all scaled to length 1."""
    sums = np.zeros((classes, embeddings.shape[1]), dtype=np.float64)
    np.add.at(sums, labels, unit(embeddings))
    return unit(sums.astype(np.float32))


def similarities_to(means: NDArray[np.float32], embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (N, C): the cosine similarity of each embedding, (N, D), to each class mean, (C, D), rounded.

    Raises GeneratorError if an embedding is not of numbers.
    """
    if not (np.isfinite(embeddings).all() and np.isfinite(means).all()):
        raise GeneratorError(
            "retrieval: the model's embedding of an image has values that are no numbers; with --set "
            "model.dtype=float32 it computes in a wider range"
        )
    found = unit(embeddings).astype(np.float64) @ means.astype(np.float64).T
    # Adding zero makes a zero of -0.0.
    return found.clip(-1, 1).round(DIGITS) + 0.0


def retrieve(
    similarities: NDArray[np.float64],
    ids: Sequence[str],
    wanted: NDArray[np.int64],
    labels: NDArray[np.int32],
    numbers: NDArray[np.int64],
) -> Retrieved:
    """Return what is retrieved for planned images, given their labels and their numbers in their classes.

    `similarities` (N, C) are those of the pool to the classes, which want so many images each. A class's k-th
    image is the k-th nearest of those that it gets.
    """
    by_class = assign(similarities, ids, wanted)
    firsts = np.cumsum(wanted) - wanted
    every = np.concatenate(by_class)[firsts[labels] + numbers]
    return Retrieved(every, similarities[every, labels])


def assign(
    similarities: NDArray[np.float64], ids: Sequence[str], wanted: NDArray[np.int64]
) -> list[NDArray[np.intp]]:
    """Return the positions that each class gets, nearest first: as many as it wants, and none of them twice.

    As if all pairs of an image and a class were taken in the order of their similarity, then of the image's
    id, then of the class, whenever the image is free and the class wants more. Computed in rounds (Gale and
    Shapley 1962): each free image asks the nearest class that would take it, and classes keep the best that
    ask.
    """
    order = np.argsort(np.array(ids, dtype=object), kind="stable")
    values = similarities[order]
    classes = len(wanted)
    kept = [np.zeros(0, dtype=np.intp) for _ in range(classes)]
    free = np.arange(len(values))
    # Of a full class: the similarity and the rank of the worst that it keeps.
    worst = np.full(classes, -np.inf)
    worst_rank = np.full(classes, len(values))
    worst[wanted == 0] = np.inf
    while len(free):
        some = values[free]
        open_to = (some > worst) | ((some == worst) & (free[:, None] < worst_rank))
        asked = np.where(open_to, some, -np.inf).argmax(axis=1)
        asking = open_to[np.arange(len(free)), asked]
        free, asked = free[asking], asked[asking]
        sent_away = []
        for label in np.unique(asked).tolist():
            every = np.concatenate([kept[label], free[asked == label]])
            every = every[np.lexsort((every, -values[every, label]))]
            kept[label], rest = np.split(every, [int(wanted[label])])
            sent_away.append(rest)
            if len(kept[label]) == wanted[label]:
                worst[label], worst_rank[label] = values[kept[label][-1], label], kept[label][-1]
        free = np.concatenate([np.zeros(0, dtype=np.intp), *sent_away])
    return [order[some] for some in kept]
