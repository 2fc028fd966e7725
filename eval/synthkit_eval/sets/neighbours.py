"""Precision, recall, density and coverage, which compare two sets by the nearest neighbours of each point.

Each point has a ball around it that reaches to its k-th nearest neighbour in its own set. Precision and
density say how many synthetic points lie in the balls of real ones; recall and coverage say how much of the
real set the synthetic one reaches. The numbers are those of `prdc`, the package of Naeem et al., which holds
the distances of all pairs in memory; here a block of rows is held at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

# Rows whose distances to all other points are in memory at the same time.
BLOCK = 1024


class Neighbours(NamedTuple):
    """Four shares; the density alone may be above 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def compare_neighbours(real: NDArray[np.float32], synthetic: NDArray[np.float32], k: int) -> Neighbours:
    """Return the metrics of real points (N, D) and synthetic points (M, D) by their `k` nearest neighbours.

    N and M must be above `k`. A point lies in a ball if its distance to the centre is less than the radius.

    * precision: the share of synthetic points that lie in the ball of a real point (Kynkäänniemi et al.
      2019, equations 1 and 2)
    * recall: the share of real points that lie in the ball of a synthetic point (the same)
    * density: the mean number of real balls in which a synthetic point lies, divided by `k` (Naeem et al.
      2020)
    * coverage: the share of real points in whose ball a synthetic point lies (the same)
    """
    import torch

    reals, synthetics = (torch.from_numpy(points).double() for points in (real, synthetic))
    real_radii, synthetic_radii = _radii(reals, k), _radii(synthetics, k)
    precise = torch.zeros(len(synthetics), dtype=torch.bool)
    recalled = contained = covered = 0
    for rows, distances in _distances(reals, synthetics):
        inside = distances < real_radii[rows, None]
        precise |= inside.any(dim=0)
        contained += int(inside.sum())
        covered += int(inside.any(dim=1).sum())
        recalled += int((distances < synthetic_radii).any(dim=1).sum())
    return Neighbours(
        precision=int(precise.sum()) / len(synthetics),
        recall=recalled / len(reals),
        density=contained / (k * len(synthetics)),
        coverage=covered / len(reals),
    )


def _radii(points: Tensor, k: int) -> Tensor:
    """Return the distance of each point to its k-th nearest neighbour: (N,) float32."""
    import torch

    radii = torch.empty(len(points))
    for rows, distances in _distances(points, points):
        # Each point is its own nearest: at 0 exactly, whatever rounding made of it.
        distances[:, rows].fill_diagonal_(0)
        radii[rows] = distances.kthvalue(k + 1, dim=1).values
    return radii


def _distances(points: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield which rows of `points`, and their Euclidean distances to all `others`: (rows, M) float32.

    As in scikit-learn, |x|² - 2xy + |y|² is computed in float64 and rounded before the square root is taken.
    """
    squares = others.square().sum(dim=1)
    for start in range(0, len(points), BLOCK):
        rows = slice(start, min(start + BLOCK, len(points)))
        block = points[rows]
        squared = (block @ others.T).mul_(-2).add_(block.square().sum(dim=1)[:, None]).add_(squares)
        distances = squared.float().clamp_(min=0)
        # NumPy rounds square roots correctly; PyTorch's may be one unit off, so that equal ones differ.
        np.sqrt(distances.numpy(), out=distances.numpy())
        yield rows, distances
