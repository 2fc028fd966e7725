"""Which of several draws of an image is kept (`filters.prefer`): the one that is right but least sure.

How sure: by the probability p of the image's class. Deliberate Practice (Askari-Hemmat et al. 2025, arXiv
2502.15588) takes the entropy of all probabilities. Of draws whose class is the first choice both order nearly
alike; but entropy also grows when a classifier doubts between other classes, and its size depends on how many
there are. The probability says alone how close the classifier is to another class, is the number that
`label_agreement` judges by, and can be compared between releases. It is kept as log-odds, which have the same
order: a classifier that has learnt its classes well says p = 1 to six digits and more of most draws.

A build chooses by the numbers as records state them, rounded, so that verification comes to the same choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthkit.release.records import Candidate, Provenance, candidates_of
from synthkit.release.scores import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# As sharp as CLIP is at most (Radford et al. 2021, arXiv 2103.00020, section 2.5): it multiplies cosine
# similarities by at most 100 before the softmax.
_SHARPNESS = 100.0


def candidate(attempt: int, label: int, logits: NDArray[np.floating]) -> Candidate:
    """Return what a classifier says of a draw of an image of class `label`, by its logits, (C,), C above 1.

    The log-odds of the class, ln(p/(1-p)) of its softmax p, are its logit less the log-sum-exp of the others.
    """
    others = np.delete(logits.astype(np.float64), label)
    most = others.max()
    log_odds = float(logits[label]) - float(most + np.log(np.exp(others - most).sum()))
    return Candidate(attempt=attempt, rank=rank_of(label, logits), log_odds=rounded(log_odds))


def logits_by_means(similarities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logits, (C,), from an image's cosine similarities to the class means, (C,).

    Source: the softmax over nearest class means of Mensink et al. 2013 (TPAMI 35, equation 2): of vectors of
    length 1, the similarity is the squared distance but for a constant.
    """
    return _SHARPNESS * similarities.astype(np.float64)


def rank_of(label: int, agreement: NDArray[np.floating]) -> int:
    """Return the rank of a class, 1 for the first, by how much an image agrees with each class, (C,)."""
    return 1 + int((agreement > agreement[label]).sum())


def preferred(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate that is kept: right and least sure, or the most probable one if none is right.

    Of equal ones the first is.
    """
    right = [item for item in candidates if item.rank == 1]
    if right:
        return min(right, key=lambda item: (item.log_odds, item.attempt))
    return max(candidates, key=lambda item: (item.log_odds, -item.attempt))


def draws_told(record: Provenance) -> int:
    """Return how many draws of an image its record tells of."""
    candidates = candidates_of(record)
    return record.attempt + 1 if candidates is None else len(candidates) + len(record.rejected)


def kept_although_rejected(record: Provenance) -> bool:
    """Return whether an image was kept because it is the last draw allowed, and no draw passed."""
    candidates = candidates_of(record)
    return len(record.rejected) > record.attempt if candidates is None else not candidates
