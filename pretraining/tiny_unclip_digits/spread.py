"""How different images are: within sets that share a source or a seed, and from their own source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pretraining.tiny_unclip_digits.judge import Judge, as_grey

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray


def pixel_vectors(images: NDArray[np.uint8]) -> Tensor:
    """(N, 32, 32, 3) uint8 to (N, 1024) grey in [0, 1]; their distances are Euclidean (L2)."""
    return as_grey(images).flatten(1)


@torch.no_grad()
def feature_vectors(judge: Judge, images: NDArray[np.uint8]) -> Tensor:
    """(N, 64) of the judge's features, where small shifts of a digit count for little."""
    return judge.features(as_grey(images))


def spread_within(vectors: Tensor, groups: Sequence[Hashable]) -> float:
    """Mean distance of two members of a group, over all pairs of every group, groups equally weighed."""
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    means = [torch.pdist(vectors[rows]).mean().item() for rows in members.values() if len(rows) > 1]
    return float(np.mean(means))


def closeness_to_source(
    generated: Tensor, real: Tensor, sources: Sequence[int], real_labels: Sequence[int]
) -> dict[str, float]:
    """Is a generation closer to the image it was conditioned on than to others of the class?

    `sources` are rows of `real`. "own is nearest" is the share of generations whose own source is the
    closest real image of the class; "chance" is what that share would be by luck.
    """
    distances = torch.cdist(generated, real)
    labels = torch.as_tensor(real_labels)
    own, nearest_other, hits, luck = [], [], [], []
    for row, source in enumerate(sources):
        others = labels == labels[source]
        others[source] = False
        own.append(distances[row, source].item())
        nearest_other.append(distances[row, others].min().item())
        hits.append(own[-1] < nearest_other[-1])
        luck.append(1 / (int(others.sum()) + 1))
    return {
        "to own source": float(np.mean(own)),
        "to nearest other": float(np.mean(nearest_other)),
        "own is nearest": float(np.mean(hits)),
        "chance": float(np.mean(luck)),
    }
