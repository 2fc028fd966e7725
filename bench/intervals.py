"""How often 95 % intervals of a difference cover the truth, and how wide they are.

    python bench/intervals.py

Runs differ by a random level, images by how hard they are and by how much the method helps each; answers are
right or wrong by chance. The truth is known from a million images. The peer is the percentile interval of the
crossed bootstrap of runs and images (Owen 2007, the pigeonhole bootstrap), 1,000 resamples with a seed.
"""

from __future__ import annotations

import argparse

import numpy as np

from synthkit_eval.comparison.statistics import Images, paired

BETTER, RESAMPLES, CLASSES = 0.3, 1000, 10


def expit(logits: np.ndarray) -> np.ndarray:
    """Return the probability of a right answer."""
    return 1 / (1 + np.exp(-logits))


def difference_of_runs(
    rng: np.random.Generator, runs: int, images: int, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether runs of two methods are right about images: (runs, images) of each."""
    hard = rng.normal(2.5, 2.5, images)
    helped = hard + rng.normal(BETTER, 0.5, images)
    sides = []
    for logits in (helped, hard):
        level = rng.normal(0, spread, (runs, 1))
        sides.append((rng.random((runs, images)) < expit(logits + level)).astype(float))
    return sides[0], sides[1]


def truth(spread: float) -> float:
    """Return the difference of the two methods over all runs and images."""
    rng = np.random.default_rng(0)
    hard = rng.normal(2.5, 2.5, 1_000_000)
    helped = hard + rng.normal(BETTER, 0.5, len(hard))
    levels = rng.normal(0, spread, (2, len(hard)))
    return float((expit(helped + levels[0]) - expit(hard + levels[1])).mean())


def bootstrap(rng: np.random.Generator, mine: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of the crossed bootstrap."""
    together = mine - theirs
    runs, images = together.shape
    rows = rng.multinomial(runs, [1 / runs] * runs, RESAMPLES)
    columns = rng.multinomial(images, [1 / images] * images, RESAMPLES)
    means = ((rows @ together) * columns).sum(axis=1) / (runs * images)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure(runs: int, images: int, spread: float, repeats: int) -> list[float]:
    """Return how often both intervals cover, and their median widths in points of percent."""
    rng = np.random.default_rng(1)
    expected, even = truth(spread), Images(np.arange(images) % CLASSES, np.full(CLASSES, 1 / CLASSES))
    ends = []
    for _ in range(repeats):
        sides = difference_of_runs(rng, runs, images, spread)
        ends.append((paired(*sides, even).interval, bootstrap(rng, *sides)))
    found = np.asarray(ends)
    covered = ((found[..., 0] <= expected) & (expected <= found[..., 1])).mean(axis=0)
    widths = 100 * np.median(found[..., 1] - found[..., 0], axis=0)
    return [100 * covered[0], widths[0], 100 * covered[1], widths[1]]


def main() -> None:
    """Print a line for each number of runs, number of images and spread of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    print("runs  images  spread   synthkit: covers, width   crossed bootstrap: covers, width")
    for runs in (3, 5, 15):
        for images in (300, 880):
            for spread in (0.0, 0.1, 0.3):
                ours, width, theirs, theirs_width = measure(runs, images, spread, repeats)
                print(
                    f"{runs:4}  {images:6}  {spread:6}   {ours:15.1f} % {width:6.1f}   "
                    f"{theirs:24.1f} % {theirs_width:6.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
