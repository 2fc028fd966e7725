"""The rules for the candidates of a record (`filters.prefer`): its draws, and which of them is kept.

The draws that were not kept are not in the release. But the numbers that they were judged by are, and the
choice follows from them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from synthkit.release.candidates import draws_told, preferred
from synthkit.release.records import candidates_of
from synthkit.release.scores import is_rounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit.recipe.filters import Filters
    from synthkit.release.records import Candidate, Provenance

# Log-odds are rounded to six digits, and the probability changes by less than they do.
_ROUNDING = 1e-6


def candidate_faults(record: Provenance, filters: Filters, classes: int) -> Iterator[str]:
    """Yield what a record tells of its draws, and of the choice, that no build writes."""
    candidates = candidates_of(record) or ()
    impossible = [item for item in candidates if not _is_possible(item, classes)]
    yield from (f"its record's candidates say {told(item)}, which cannot be" for item in impossible)
    drawn, attempts = draws_told(record), [item.attempt for item in candidates]
    if not _are_all_draws(attempts, drawn, filters):
        yield (
            f"its record tells of {len(candidates)} candidate(s), attempts {_listed(attempts)}, and of "
            f"{len(record.rejected)} rejected; by the recipe {filters.draws} draws are made of an image, or "
            f"up to {filters.most_draws} until one passes"
        )
        return
    kept = preferred(candidates).attempt if candidates else drawn - 1
    if record.attempt != kept:
        yield f"its record's attempt is {record.attempt}, by its candidates {kept} is kept"


def told(item: Candidate) -> str:
    """Return a candidate in words."""
    return f"attempt {item.attempt}: rank {item.rank}, log-odds {item.log_odds:g}"


def _is_possible(item: Candidate, classes: int) -> bool:
    """Return whether a classifier of so many classes can have given these numbers.

    As many classes as the rank says have at least this probability, and the first has that of an equal share.
    """
    first = item.rank > 1 or item.probability >= 1 / classes - _ROUNDING
    share = item.probability * item.rank <= 1 + item.rank * _ROUNDING
    return is_rounded(item.log_odds) and item.rank <= classes and first and share


def _are_all_draws(attempts: Sequence[int], drawn: int, filters: Filters) -> bool:
    """Return whether candidates have these attempts in some build, the others of `drawn` draws rejected."""
    if not attempts:
        return drawn == filters.most_draws and filters.gates
    ordered = all(before < after for before, after in pairwise(attempts))
    if not ordered or attempts[-1] >= drawn:
        return False
    if attempts[0] < filters.draws:
        return drawn == filters.draws
    # None of those passed, so draws went on until one did.
    return attempts == [drawn - 1] and drawn <= filters.most_draws


def _listed(attempts: Sequence[int]) -> str:
    return ", ".join(map(str, attempts[:8])) or "none"
