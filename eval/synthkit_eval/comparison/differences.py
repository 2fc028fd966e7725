"""Which scores compare with each other, and what their differences show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from synthkit_eval.comparison.apart import why_apart
from synthkit_eval.comparison.contrasts import Pair, rows_of
from synthkit_eval.comparison.notes import notes
from synthkit_eval.comparison.pairs import difference
from synthkit_eval.comparison.published import Published, PublishedTable, beside
from synthkit_eval.comparison.references import random_of, real_of
from synthkit_eval.comparison.rows import make_rows
from synthkit_eval.comparison.statistics import LEVEL, Estimate, holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.comparison.rows import Row
    from synthkit_eval.contrast import Contrast
    from synthkit_eval.score import Score


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more accurate a row is than another, `baseline`, in one part of the accuracy.

    `declared` tells contrasts that were fixed beforehand from what was looked for afterwards; the `family` of
    either kind is how many of them one output shows, and `p` is corrected for that number (Holm 1979).
    """

    mine: Row
    baseline: Row
    part: str
    declared: bool
    estimate: Estimate
    family: int = 1
    p: float = 1.0

    @property
    def points(self) -> float:
        """The difference in points of percent."""
        return 100 * self.estimate.difference

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, not corrected for the number of comparisons, in points of percent."""
        low, high = self.estimate.interval
        return 100 * low, 100 * high

    @property
    def shown(self) -> bool:
        """Whether the runs show that one is better than the other, after the correction."""
        return self.p < 1 - LEVEL

    @property
    def visible(self) -> float:
        """The difference in points of percent that 80 % of repetitions would have shown."""
        return 100 * self.estimate.visible(self.family)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that compare with each other, their differences, and published scores of the same protocol.

    `apart` says why they do not compare with those of an earlier section; None in the first one.
    """

    number: int
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    published: tuple[Published, ...]
    apart: str | None
    notes: tuple[str, ...]

    @property
    def first(self) -> Score:
        """One of its scores, for the protocol and the real images that all of them share."""
        return self.rows[0].score

    def of(self, row: Row, baseline: Row | None) -> Difference | None:
        """Return the difference of overall between two of its rows, if it was computed."""
        for found in self.differences:
            if found.mine is row and found.baseline is baseline and found.part == "overall":
                return found
        return None

    def to_real(self, row: Row) -> Difference | None:
        """Return the difference of a row to real images alone."""
        return self.of(row, real_of(row, self.rows))

    def to_random(self, row: Row) -> Difference | None:
        """Return the difference of a row to random-image."""
        return self.of(row, random_of(row, self.rows))


def compare_scores(
    files: Sequence[ScoreFile], tables: Sequence[PublishedTable], contrasts: Sequence[Contrast] = ()
) -> list[Section]:
    """Divide scores into sections of those that compare, and compute their differences.

    In a section real images alone stand first, then random-image, then the others as given. Raises ScoreError
    if a declared contrast names rows that no section has.
    """
    groups: list[list[ScoreFile]] = []
    for file in files:
        fitting = [group for group in groups if group[0].score.compares_with(file.score)]
        if fitting:
            fitting[0].append(file)
        else:
            groups.append([file])
    firsts = [group[0].score for group in groups]
    sections = [_section(i, group, firsts, tables) for i, group in enumerate(groups)]
    declared = rows_of(contrasts, [section.rows for section in sections])
    pairs = zip(sections, declared, strict=True)
    return _corrected([_with_differences(section, fixed) for section, fixed in pairs])


def _section(
    place: int, files: Sequence[ScoreFile], firsts: Sequence[Score], tables: Sequence[PublishedTable]
) -> Section:
    rows = make_rows(files)
    published = tuple(beside(tables, [score for row in rows for score in row.scores]))
    return Section(place + 1, tuple(rows), (), published, why_apart(place, firsts), tuple(notes(rows)))


def _with_differences(section: Section, fixed: Sequence[Pair]) -> Section:
    """Return a section with the contrasts fixed beforehand, then the differences to both references."""
    known = {frozenset((mine.name, theirs.name)) for mine, theirs, part in fixed if part == "overall"}
    looked = [
        (row, other, "overall")
        for row in section.rows
        for other in (real_of(row, section.rows), random_of(row, section.rows))
        if other is not None and frozenset((row.name, other.name)) not in known
    ]
    found, untested = [], []
    for declared, pairs in ((True, fixed), (False, looked)):
        for mine, theirs, part in pairs:
            estimate = difference(mine, theirs, part)
            if estimate is not None:
                found.append(Difference(mine, theirs, part, declared, estimate))
            elif declared:
                untested.append(
                    f"Not tested: {mine.name} against {theirs.name} in {part.replace('_', ' ')}: they share "
                    "no choice of real images, or no class is in that group."
                )
    return replace(section, differences=tuple(found), notes=(*section.notes, *untested))


def _corrected(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with p-values corrected over all differences of a kind, in all sections."""
    corrected: dict[int, Difference] = {}
    for kind in (True, False):
        family = [d for section in sections for d in section.differences if d.declared is kind]
        for one, p in zip(family, holm([d.estimate.p for d in family]), strict=True):
            corrected[id(one)] = replace(one, family=len(family), p=p)
    return [replace(s, differences=tuple(corrected[id(d)] for d in s.differences)) for s in sections]
