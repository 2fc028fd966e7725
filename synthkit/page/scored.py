"""What a page tells of scores, as plain data: whoever reads score files fills it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# The most classes of a chart that gained, and that lost; and half of its width, in pixels.
_MOST, _HALF = 20, 100


class Difference(NamedTuple):
    """A difference of accuracies from real images alone, between -1 and 1, and its 95 % interval.

    `shown` says whether it is told from chance.
    """

    value: float
    low: float
    high: float
    shown: bool


class PartTold(NamedTuple):
    """The accuracy of all images or of a group of classes; half intervals over runs and over images."""

    name: str
    accuracy: float
    over_runs: float | None
    over_images: float
    real_only: float | None
    difference: Difference | None


class ClassTold(NamedTuple):
    """The accuracy of a class, half of its interval over runs, and what it gained."""

    label: int
    accuracy: float
    over_runs: float | None
    real_only: float | None
    difference: Difference | None


class ScoreTold(NamedTuple):
    """A score of a release: how it was measured, accuracies, set metrics, and the classes.

    `baseline` says what differences are from; empty if there are none. `notes` are sentences.
    """

    title: str
    how: str
    parts: list[PartTold]
    metrics: list[tuple[str, str]]
    classes: list[ClassTold]
    baseline: str
    notes: list[str]


class GainRow(NamedTuple):
    """A class in the chart of gains: its numbers, and where its bar and its interval are drawn."""

    name: str
    accuracy: float
    real_only: float
    difference: Difference
    x: float
    width: float
    low_x: float
    high_x: float


class Gains(NamedTuple):
    """The classes by what they gained, the largest gain first; bars reach to `most` points on each side."""

    rows: list[GainRow]
    most: int
    left_out: str


def gains_of(score: ScoreTold, names: Mapping[int, str]) -> Gains:
    """Return what classes gained over real images alone, for a chart; `names` are theirs by label."""
    known = [(item, item.difference) for item in score.classes if item.difference is not None]
    known.sort(key=lambda pair: (-pair[1].value, pair[0].label))
    shown = known if len(known) <= 2 * _MOST else [*known[:_MOST], *known[-_MOST:]]
    reach = max((max(abs(found.low), abs(found.high)) for _, found in shown), default=0.0)
    # In steps of 5 points, so that the axis has a round end.
    most = min(max(5 * -int(-20 * reach // 1), 5), 100)
    left_out = (
        f"The {_MOST} that gained most and the {_MOST} that lost most, or gained least, of {len(known):,}."
        if len(shown) < len(known)
        else ""
    )

    def at(value: float) -> float:
        return round(_HALF + _HALF * max(-1.0, min(1.0, 100 * value / most)), 2)

    rows = [
        GainRow(
            names.get(item.label, str(item.label)),
            item.accuracy,
            item.real_only or 0.0,
            found,
            x=min(at(0), at(found.value)),
            width=round(abs(at(found.value) - at(0)), 2),
            low_x=at(found.low),
            high_x=at(found.high),
        )
        for item, found in shown
    ]
    return Gains(rows, most, left_out)
