"""Which draw of an image is kept: the first that quality gates let pass or, of several, the preferred one.

Draws of an image are taken in the order of their attempts. After each, the image stands as it would be kept
if no more were made, and its record tells of all draws so far: a build that is stopped goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthkit.builder.image import Draw
from synthkit.release.candidates import preferred
from synthkit.release.scores import rejection

if TYPE_CHECKING:
    from synthkit.builder.filters import Judged
    from synthkit.recipe.filters import Filters
    from synthkit.release.records import Candidate


class Standing(NamedTuple):
    """How an image stands after a draw: what its record says of all draws, and whether no more are wanted.

    If `is_kept`, it is this draw that stands for the image; else the one that stood for it before.
    """

    draw: Draw
    is_kept: bool
    is_settled: bool


@dataclass(slots=True)
class _Image:
    """The draws of an image so far: why some were rejected, and those that passed."""

    rejected: list[str]
    candidates: list[Candidate]


class Choice:
    """Chooses among the draws of images by the filters of a recipe.

    `again` are the draws to be made next, of images of which none has passed.
    """

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._images: dict[int, _Image] = {}
        self.again: list[Draw] = []

    def take(self, draw: Draw, judged: Judged) -> Standing | None:
        """Take the next draw of an image; return how the image stands, None if there is nothing to keep."""
        index, made = draw.row.index, draw.attempt + 1
        image = self._images.setdefault(index, _Image([*draw.rejected], [*draw.candidates]))
        reason = rejection(judged.scores, self._filters)
        if reason:
            image.rejected.append(reason)
        elif judged.candidate is not None:
            image.candidates.append(judged.candidate)
        is_settled = made >= self._filters.draws
        if reason and not image.candidates and made < self._filters.most_draws:
            if is_settled:
                self.again.append(Draw(draw.row, made, tuple(image.rejected)))
            return None
        # Without candidates: the first draw that passes, or the last one, which is kept although it is
        # rejected, since a release has no gaps. Its record then has a reason for every draw.
        is_kept = not image.candidates or preferred(image.candidates).attempt == draw.attempt
        if is_settled:
            del self._images[index]
        rejected, candidates = tuple(image.rejected), tuple(image.candidates)
        told = draw._replace(rejected=rejected, scores=judged.scores, candidates=candidates)
        return Standing(told, is_kept, is_settled)
