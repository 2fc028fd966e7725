"""The Vendi score: how many different images a set is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def vendi_score(directions: NDArray[np.float64]) -> float:
    """Return the Vendi score of N directions (N, D), rows of length 1, with cosine similarity as the kernel.

    It is the exponential of the entropy of the eigenvalues of the similarities divided by N (Friedman and
    Dieng 2023, definition 3.1): 1 if all directions are equal, N if all are perpendicular.
    """
    import torch

    rows = torch.from_numpy(directions)
    count, dimensions = rows.shape
    # (D, D) has the same eigenvalues above 0 as (N, N).
    products = rows.T @ rows if count > dimensions else rows @ rows.T
    eigenvalues = torch.linalg.eigvalsh(products / count)
    positive = eigenvalues[eigenvalues > 0]
    return float((-(positive * positive.log()).sum()).exp())
