"""Which scores compare with each other, and how far apart they are."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from synthkit_eval.comparison.published import Published, PublishedTable, beside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthkit_eval.comparison.find import ScoreFile
    from synthkit_eval.score import ReleaseFacts, Score

BASELINE = "random-image"
_SETTINGS_SHOWN = 3
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more accurate a score is than another, in points of percent.

    `baseline` names the other score. `interval` is the 95 % interval of the difference, by Welch's t-test
    over the seeds (Welch 1947); None if either score has one seed.
    """

    baseline: str
    points: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A score, its name in the table, and its differences to real images alone and to random-image."""

    name: str
    score: Score
    to_real: Difference | None
    to_random: Difference | None

    @property
    def label(self) -> str:
        """Its method; of real images alone its name."""
        return self.name if self.score.release is None else self.score.release.method


@dataclass(frozen=True, slots=True)
class Section:
    """Scores that compare with each other, and published ones of the same protocol.

    `apart` says why they do not compare with those of an earlier section; None in the first one.
    """

    number: int
    rows: tuple[Row, ...]
    published: tuple[Published, ...]
    apart: str | None
    notes: tuple[str, ...]

    @property
    def first(self) -> Score:
        """One of its scores, for the protocol and the real images that all of them share."""
        return self.rows[0].score


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    score: Score


def compare_scores(files: Sequence[ScoreFile], tables: Sequence[PublishedTable]) -> list[Section]:
    """Divide scores into sections of those that compare, and compute their differences.

    In a section real images alone stand first, then random-image, then the others as given.
    """
    groups: list[list[ScoreFile]] = []
    for file in files:
        fitting = [group for group in groups if group[0].score.compares_with(file.score)]
        if fitting:
            fitting[0].append(file)
        else:
            groups.append([file])
    firsts = [group[0].score for group in groups]
    return [_section(i, group, firsts, tables) for i, group in enumerate(groups)]


def _section(
    place: int, files: Sequence[ScoreFile], firsts: Sequence[Score], tables: Sequence[PublishedTable]
) -> Section:
    named = sorted(map(_Named, _names(files), (file.score for file in files)), key=_standing)
    rows = tuple(
        Row(
            item.name,
            item.score,
            _against(item, _real_of(item, named)),
            _against(item, _random_of(item, named)),
        )
        for item in named
    )
    published = tuple(beside(tables, [row.score for row in rows]))
    return Section(place + 1, rows, published, _why_apart(place, firsts), tuple(_notes(named)))


def _standing(item: _Named) -> int:
    release = item.score.release
    return 0 if release is None else 1 if release.method == BASELINE else 2


def _names(files: Sequence[ScoreFile]) -> list[str]:
    """Return a name for each, the shortest that distinguishes it from the others."""
    forms = [_forms(file) for file in files]
    counts = [Counter(form[level] for form in forms) for level in range(2)]
    return [next((form[n] for n in range(2) if counts[n][form[n]] == 1), form[2]) for form in forms]


def _forms(file: ScoreFile) -> tuple[str, str, str]:
    score, release = file.score, file.score.release
    longer = f"{score.name}, {score.steps:,} steps" if release is None else f"{score.name} {release.version}"
    return score.name, longer, f"{longer} ({file.path})"


def _real_of(item: _Named, named: Sequence[_Named]) -> _Named | None:
    """Return the real-only score of as many steps that has the most seeds, if there is one.

    More steps alone make a score better, so that only equal ones show what the synthetic images add.
    """
    same = [n for n in named if n.score.release is None and n.score.steps == item.score.steps]
    if item.score.release is None or not same:
        return None
    return max(same, key=lambda n: len(n.score.seeds))


def _random_of(item: _Named, named: Sequence[_Named]) -> _Named | None:
    """Return the random-image score that is most alike, if there is one.

    The same model counts first, then how near guidance, steps and the number of images are.
    """
    mine = item.score.release
    if mine is None or mine.method == BASELINE:
        return None

    def distance(other: _Named) -> tuple[bool, float, int, int]:
        release = _release(other)
        return (
            release.generator != mine.generator,
            abs(release.guidance_scale - mine.guidance_scale),
            abs(other.score.steps - item.score.steps),
            abs(release.images - mine.images),
        )

    baselines = [n for n in named if n.score.release is not None and n.score.release.method == BASELINE]
    return min(baselines, key=distance, default=None)


def _release(item: _Named) -> ReleaseFacts:
    assert item.score.release is not None  # noqa: S101
    return item.score.release


def _against(item: _Named, other: _Named | None) -> Difference | None:
    if other is None:
        return None
    mine, theirs = per_seed(item.score), per_seed(other.score)
    points = 100 * (fmean(mine) - fmean(theirs))
    return Difference(other.name, points, welch(mine, theirs))


def per_seed(score: Score) -> list[float]:
    """Return the overall accuracy of each training run in the epoch that counts."""
    return [run.overall for run in score.seeds]


def welch(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference of two means, in points of percent (Welch 1947).

    The variances may differ. None if either side has one value.
    """
    from scipy.stats import ttest_ind

    if min(len(mine), len(theirs)) < 2:
        return None
    if len({*mine}) == len({*theirs}) == 1:
        # Without spread on either side the degrees of freedom are 0/0, and the interval has no width.
        return 100 * (mine[0] - theirs[0]), 100 * (mine[0] - theirs[0])
    with warnings.catch_warnings():
        # scipy warns of lost precision where all runs of one side are equal; here they may well be.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    return 100 * float(interval.low), 100 * float(interval.high)


def _why_apart(place: int, firsts: Sequence[Score]) -> str | None:
    """Say why a section does not compare with the earlier one that differs least; None for the first."""
    reasons = [(list(_unlike(firsts[place], firsts[i])), i + 1) for i in range(place)]
    if not reasons:
        return None
    why, number = min(reasons, key=lambda reason: len(reason[0]))
    return f"Does not compare with section {number}: {'; '.join(why)}."


def _unlike(score: Score, other: Score) -> Iterator[str]:
    if score.protocol.digest != other.protocol.digest:
        yield f"another protocol ({_unlike_protocol(score, other)})"
    if score.data.training_digest != other.data.training_digest:
        yield "other real training images"
    if score.data.evaluation_digest != other.data.evaluation_digest:
        yield "other evaluation images"


def _unlike_protocol(score: Score, other: Score) -> str:
    mine, theirs = score.protocol, other.protocol
    if (mine.name, mine.version) != (theirs.name, theirs.version):
        return f"{mine.name} version {mine.version}, not {theirs.name} version {theirs.version}"
    settings, others = dict(_flat(mine.settings)), dict(_flat(theirs.settings))
    keys = [key for key in sorted(settings | others) if settings.get(key) != others.get(key)]
    shown = [f"{key} {settings.get(key)}, not {others.get(key)}" for key in keys[:_SETTINGS_SHOWN]]
    rest = [f"{len(keys) - _SETTINGS_SHOWN} more settings"] if len(keys) > _SETTINGS_SHOWN else []
    return "; ".join([*shown, *rest]) or "another digest"


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _notes(named: Sequence[_Named]) -> Iterator[str]:
    releases = [item for item in named if item.score.release is not None]
    alone = [item for item in releases if _real_of(item, named) is None]
    if alone:
        steps = " or ".join(f"{n:,}" for n in sorted({item.score.steps for item in alone}))
        yield (
            f"No real-only score of {steps} steps lies beside {_listed(alone)}: nothing to subtract. "
            f"`{_real_only_command(alone[0].score)}` makes one."
        )
    if releases and not any(_standing(item) == 1 for item in releases):
        yield f"No {BASELINE} score is among these: nothing to subtract."
    machines = {
        (item.score.environment.get("device", "?"), item.score.environment.get("processes", "?"))
        for item in named
    }
    if len(machines) > 1:
        told = "; ".join(f"{device}, {processes} process(es)" for device, processes in sorted(machines))
        yield f"Not all were trained on one kind of machine ({told}): small differences may come of that."
    unlike: dict[tuple[str, str], list[_Named]] = {}
    for item in releases:
        baseline = _random_of(item, named)
        reasons = ", ".join(_unlike_releases(baseline, item)) if baseline else ""
        if baseline and reasons:
            unlike.setdefault((baseline.name, reasons), []).append(item)
    for (name, reasons), items in unlike.items():
        yield f"Compared with {_listed(items)}, {name} has {reasons}."


def _real_only_command(score: Score) -> str:
    changes = "".join(f" --set {shlex.quote(change)}" for change in score.protocol.changed)
    name = f"releases/{score.release.name}" if score.release else "RELEASE"
    return f"synthkit eval {name} --protocol {score.protocol.name}{changes} --real-only"


def _unlike_releases(baseline: _Named, item: _Named) -> Iterator[str]:
    theirs, mine = _release(baseline), _release(item)
    if theirs.generator != mine.generator:
        yield "another model"
    if theirs.guidance_scale != mine.guidance_scale:
        yield f"guidance {theirs.guidance_scale:g}, not {mine.guidance_scale:g}"
    if baseline.score.steps != item.score.steps:
        yield f"{baseline.score.steps:,} steps, not {item.score.steps:,}"
    if theirs.images != mine.images:
        yield f"{theirs.images:,} images, not {mine.images:,}"


def _listed(items: Sequence[_Named]) -> str:
    names = [item.name for item in items[:_NAMES_SHOWN]]
    rest = len(items) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")
