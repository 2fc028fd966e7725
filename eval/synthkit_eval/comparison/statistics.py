"""How sure a difference of accuracies is: paired by evaluation image, over training runs and images at once.

Two things decide an accuracy by chance: what was drawn or trained (a *run*: a training seed, a release made
from another seed, another choice of shots), and which images evaluate it. Every run is tested on every image,
so both factors are crossed. The variance of a mean over both is estimated from its parts, as in a two-way
analysis of variance with random effects (Searle, Casella and McCulloch 1992, chapter 4); Student's t with the
degrees of freedom of Satterthwaite (1946) makes intervals and p-values of it.

A crossed bootstrap (Owen 2007) has the same aim. With three to fifteen runs its percentiles are too wide
where runs differ little and too narrow where they differ much; `bench/intervals.py` compares both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEVEL = 0.95
# How often a difference of the size that `Estimate.visible` states would be shown.
POWER = 0.8


@dataclass(frozen=True, slots=True)
class Images:
    """What N evaluation images weigh: `labels` (N,) are their classes, `weights` (C,) those of the classes.

    Weights of classes add up to 1; the images of a class share its weight.
    """

    labels: NDArray[np.integer[Any]]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference of two accuracies between -1 and 1, its standard error, and the degrees of freedom.

    Where runs differ no more than single answers do, `freedom`, for the interval, is that of the images.
    `careful`, for p-values, stays that of few runs: corrected p-values ask how far the tails reach, and there
    a few runs that happen to be alike would show too much. `over_runs` says whether the error knows how runs
    vary; with one run on each side it cannot.
    """

    difference: float
    error: float
    freedom: float
    careful: float
    over_runs: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the 95 % interval."""
        from scipy import stats

        half = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error
        return self.difference - half, self.difference + half

    @property
    def p(self) -> float:
        """The probability of a difference at least as large if there is none, two-sided."""
        from scipy import stats

        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.careful))

    def visible(self, comparisons: int) -> float:
        """Return the difference that would be shown in 80 % of repetitions among so many comparisons."""
        from scipy import stats

        level = 1 - (1 - LEVEL) / (2 * comparisons)
        return float(stats.t.ppf(level, self.careful) + stats.t.ppf(POWER, self.careful)) * self.error


@dataclass(frozen=True, slots=True)
class _Side:
    """Values (R, N) of R runs on N images, and what they say of the spread of runs and of single values."""

    means: NDArray[np.float64]
    runs: int
    between: float
    noise: NDArray[np.float64]


def paired(mine: NDArray[np.float64], theirs: NDArray[np.float64], images: Images) -> Estimate:
    """Return the difference of two sides whose rows belong together (the same shots, or the same seed).

    Both are (R, N): how often a run is right about an image, NaN where it was not tested on it.
    """
    together = mine - theirs
    keep = (images.weights[images.labels] > 0) & ~np.isnan(together).all(axis=0)
    together, images = together[:, keep], Images(images.labels[keep], images.weights)
    side = _side(together, images)
    return _estimate(side.means, [side], images, float(np.mean(_of_rows(together, images))))


def unpaired(mine: NDArray[np.float64], theirs: NDArray[np.float64], images: Images) -> Estimate:
    """Return the difference of two sides of other runs, (R, N) and (S, N), on the same images."""
    keep = images.weights[images.labels] > 0
    images = Images(images.labels[keep], images.weights)
    sides = [_side(values[:, keep], images) for values in (mine, theirs)]
    # A side of a single run tells nothing of how runs vary: it is taken to vary as the other one does.
    several = [side for side in sides if side.runs > 1]
    sides = [side if side.runs > 1 or not several else _like(side, several[0]) for side in sides]
    means = sides[0].means - sides[1].means
    return _estimate(means, sides, images, float(_of_rows(means[None], images)[0]))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the smallest counts n times, the next n - 1."""
    count = len(p_values)
    corrected = [0.0] * count
    largest = 0.0
    for rank, place in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def _of_rows(values: NDArray[np.float64], images: Images) -> NDArray[np.float64]:
    """Return the weighted mean of each row (R,), of the images that it has."""
    found = np.zeros(len(values))
    for label in np.unique(images.labels):
        found += images.weights[label] * np.nanmean(values[:, images.labels == label], axis=1)
    return found


def _side(values: NDArray[np.float64], images: Images) -> _Side:
    runs, means = len(values), np.nanmean(values, axis=0)
    rows = _of_rows(values, images)
    between = float(np.var(rows, ddof=1)) if runs > 1 else 0.0
    return _Side(means, runs, between, _noise(values, means, rows, images))


def _noise(
    values: NDArray[np.float64], means: NDArray[np.float64], rows: NDArray[np.float64], images: Images
) -> NDArray[np.float64]:
    """Return for each class (C,) the variance of single values around what their run and image say."""
    noise = np.zeros(len(images.weights))
    if len(values) < 2:
        return noise
    rest = values - means - (rows - rows.mean())[:, None]
    for label in np.unique(images.labels):
        of_class = rest[:, images.labels == label]
        count, per_row = np.sum(~np.isnan(of_class)), of_class.shape[1]
        freedom = count - per_row - len(values) + 1
        noise[label] = np.nansum(of_class**2) / freedom if freedom > 0 else 0.0
    return noise


def _like(side: _Side, other: _Side) -> _Side:
    return _Side(side.means, 1, other.between, other.noise)


def _estimate(
    means: NDArray[np.float64], sides: Sequence[_Side], images: Images, difference: float
) -> Estimate:
    of_images, slack = _over_images(means, images)
    noise = sum(_share(side.noise / side.runs, images) for side in sides)
    of_runs = [side.between / side.runs for side in sides]
    # How single values vary is in both parts; it is taken out of one of them.
    variance = max(of_images, noise, _of_one_image(images)) + max(sum(of_runs) - noise, 0.0)
    slack_of_runs = sum(part**2 / max(side.runs - 1, 1) for part, side in zip(of_runs, sides, strict=True))
    several = any(side.runs > 1 or side.between > 0 for side in sides)
    careful = _freedom(variance, slack + slack_of_runs, len(means))
    freedom = careful if sum(of_runs) > noise else _freedom(variance, slack, len(means))
    return Estimate(difference, math.sqrt(variance), freedom, careful, several)


def _freedom(variance: float, slack: float, images: int) -> float:
    """Return Satterthwaite's degrees of freedom."""
    return max(variance**2 / slack, 1.0) if slack > 0 else float(images - 1)


def _over_images(means: NDArray[np.float64], images: Images) -> tuple[float, float]:
    """Return the variance of a mean over images drawn within classes, and its part of Satterthwaite's sum."""
    variance = slack = 0.0
    for of_class, weight in _strata(means, images):
        part = weight**2 * float(np.var(of_class, ddof=1)) / len(of_class)
        variance, slack = variance + part, slack + part**2 / (len(of_class) - 1)
    return variance, slack


def _strata(means: NDArray[np.float64], images: Images) -> list[tuple[NDArray[np.float64], float]]:
    """Return the values and the weight of each class; all of them as one if a class has a single image."""
    labels, counts = np.unique(images.labels, return_counts=True)
    if counts.min() < 2:
        return [(means, float(images.weights[labels].sum()))]
    return [(means[images.labels == label], float(images.weights[label])) for label in labels]


def _share(variances: NDArray[np.float64], images: Images) -> float:
    """Return the variance of a weighted mean over images, from that of single values in each class (C,)."""
    counts = np.bincount(images.labels, minlength=len(images.weights))
    present = counts > 0
    return float((images.weights[present] ** 2 * variances[present] / counts[present]).sum())


def _of_one_image(images: Images) -> float:
    """Return the variance that one image which only one side gets right would make: no interval is narrower.

    Agresti and Min (2005) add counts to paired proportions for the same reason.
    """
    counts = np.bincount(images.labels, minlength=len(images.weights))
    present = counts > 0
    effective = 1 / float((images.weights[present] ** 2 / counts[present]).sum())
    return 1 / effective**2
