"""Time and memory of finding near duplicates among 1,164,154 synthetic images of 1,000 classes.

    python bench/duplicates.py [--images 1164154] [--classes 1000] [--json]

Pixels, hashes and embeddings of 1,024 numbers are made up; every hundredth image repeats the one before it
(in turn its pixels, its hash but for two bits, its embedding but for a little). Each of these must be found,
and nothing else. Each contender runs in a process of its own, in turn, several rounds; medians count. The
peers, on samples of the images: for hashes, `imagededup` with its BK-tree, and every pair by blocks in
numpy; for embeddings, `faiss` with a flat index for each class (pip install imagededup faiss-cpu). The
limits that synthkit sets itself: 2 GB of memory for the whole, and no peer takes less than three quarters
of its time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthkit.inspection.hash_neighbours import near_pairs
from synthkit.inspection.near_duplicates import SyntheticViews, find_groups
from synthkit.release.likeness import Limits, Views, unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SIZE, LOT, EVERY = 1024, 1000, 100
LIMITS = Limits()
ROUNDS = 3
# What the peers are measured on: BK-trees take long.
FEW, MORE, CLASSES = 2_000, 30_000, 20
CONTENDERS = ("whole", "half", "few", "imagededup", "more", "every_pair", "classes", "faiss")


class Cost(NamedTuple):
    """Of one contender: seconds to take images in, seconds to search, peak memory of its process."""

    taking: float
    searching: float
    megabytes: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=1_164_154)
    arguments.add_argument("--classes", type=int, default=1_000)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--contender", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.contender:
        print(json.dumps(contend(given.contender, given.images, given.classes)))
        return
    results = measure(given.images, given.classes, given.rounds)
    print(json.dumps(results, indent=2) if given.json else as_text(results))


def measure(images: int, classes: int, rounds: int) -> dict[str, dict[str, float]]:
    """Measure every contender; return the medians and their ratios."""
    costs = [{name: run(name, images, classes) for name in CONTENDERS} for _ in range(rounds)]
    results = {
        name: {field: statistics.median(getattr(row[name], field) for row in costs) for field in Cost._fields}
        for name in CONTENDERS
    }
    whole, half = results["whole"], results["half"]
    results["ratios"] = {
        "imagededup_seconds_vs_synthkit": seconds(results, "imagededup", "few"),
        "every_pair_seconds_vs_synthkit": seconds(results, "every_pair", "more"),
        "faiss_seconds_vs_synthkit": seconds(results, "faiss", "classes"),
        "whole_megabytes_of_2000": whole["megabytes"] / 2000,
        "twice_the_images_megabytes": whole["megabytes"] / half["megabytes"],
        "twice_the_images_seconds": whole["searching"] / half["searching"],
    }
    return results


def seconds(results: dict[str, dict[str, float]], peer: str, ours: str) -> float:
    """Return how many times as long a peer takes to search."""
    return results[peer]["searching"] / results[ours]["searching"]


def run(name: str, images: int, classes: int) -> Cost:
    """Run a contender in a process of its own."""
    sizes = ["--images", str(images), "--classes", str(classes)]
    command = [sys.executable, __file__, "--contender", name, *sizes]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{name} failed")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    return Cost(*json.loads(output), usage.ru_maxrss / (1000 if sys.platform == "linux" else 1e6))


def contend(name: str, images: int, classes: int) -> tuple[float, float]:
    """Return the seconds of taking in and of searching."""
    sample = images * CLASSES // classes
    match name:
        case "whole":
            return by_blocks(images, classes)
        case "half":
            return by_blocks(images // 2, max(1, classes // 2))
        case "classes":
            return by_blocks(sample, CLASSES)
        case "faiss":
            return by_faiss(sample, CLASSES)
        case "few":
            return by_bands(FEW)
        case "imagededup":
            return by_imagededup(FEW)
        case "more":
            return by_bands(MORE)
    return by_every_pair(MORE)


def labels_of(images: int, classes: int) -> NDArray[np.int64]:
    """Return the class of each image, of a class that repeats another the same."""
    numbers = np.arange(images)
    return (numbers - (numbers % EVERY == EVERY - 1)) * 7919 % classes


def kinds_of(repeats: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what images repeat of those before them: 0 pixels and hash, 1 the hash, 2 the embedding."""
    return repeats // EVERY % 3


def lots(images: int, classes: int) -> Iterator[tuple[list[int], Views]]:
    """Yield made-up images in lots; embeddings of any two have a similarity of about a half."""
    labels, random = labels_of(images, classes), np.random.default_rng(0)
    common = random.standard_normal(SIZE, dtype=np.float32)
    for start in range(0, images, LOT):
        count = min(LOT, images - start)
        embeddings = unit(common + random.standard_normal((count, SIZE), dtype=np.float32))
        hashes = random.integers(0, 2**64, count, dtype=np.uint64)
        pixels = random.integers(0, 256, (count, 32), dtype=np.uint8)
        repeats = np.arange(EVERY - 1, count, EVERY)
        same, turned, close = (repeats[kinds_of(start + repeats) == kind] for kind in range(3))
        pixels[same], hashes[same] = pixels[same - 1], hashes[same - 1]
        hashes[turned] = hashes[turned - 1] ^ np.uint64(0b101)
        embeddings[close] = unit(embeddings[close - 1] + embeddings[close] / 20)
        yield labels[start : start + count].tolist(), Views(embeddings, hashes, pixels)


def by_blocks(images: int, classes: int) -> tuple[float, float]:
    """Synthkit: every measure, all images, embeddings from a file."""
    counts, taking = np.bincount(labels_of(images, classes), minlength=classes).tolist(), 0.0
    with tempfile.TemporaryDirectory() as folder, SyntheticViews(Path(folder), counts, SIZE) as seen:
        for labels, views in lots(images, classes):
            started = time.perf_counter()
            seen.add(labels, views)
            taking += time.perf_counter() - started
        started = time.perf_counter()
        groups = find_groups(seen, LIMITS, lambda count: None)
        searching = time.perf_counter() - started
    found = [int(kind.sum()) for kind in (groups.exact, groups.perceptual, groups.embedding)]
    pixels, hashes, embeddings = np.bincount(
        kinds_of(np.arange(EVERY - 1, images, EVERY)), minlength=3
    ).tolist()
    check(found == [2 * pixels, 2 * (pixels + hashes), 2 * embeddings], f"{found} by measure")
    check(len(np.unique(groups.group)) == images - images // EVERY, "the groups")
    return taking, searching


def all_hashes(images: int) -> NDArray[np.uint64]:
    return np.concatenate([views.hashes for _, views in lots(images, 1)])


def by_bands(images: int) -> tuple[float, float]:
    """Synthkit: near hashes alone."""
    hashes = np.unique(all_hashes(images))
    started = time.perf_counter()
    pairs = {pair for some in near_pairs(hashes, LIMITS.distance) for pair in zip(*some, strict=True)}
    check(len(pairs) == near_hashes(images, 1), f"{len(pairs)} pairs")
    return 0.0, time.perf_counter() - started


def by_every_pair(images: int) -> tuple[float, float]:
    """Compare each hash with each other, by blocks."""
    hashes = np.unique(all_hashes(images))
    started = time.perf_counter()
    found = 0
    for start in range(0, len(hashes), 1000):
        found += int((np.bitwise_count(hashes[start : start + 1000, None] ^ hashes) <= LIMITS.distance).sum())
    check(found - len(hashes) == 2 * near_hashes(images, 1), f"{found} pairs")
    return 0.0, time.perf_counter() - started


def by_imagededup(images: int) -> tuple[float, float]:
    """Search as imagededup does, which takes the hashes as texts."""
    from imagededup.methods import PHash

    names = {str(number): f"{value:016x}" for number, value in enumerate(all_hashes(images).tolist())}
    started = time.perf_counter()
    found = PHash(verbose=False).find_duplicates(
        encoding_map=names, max_distance_threshold=LIMITS.distance, search_method="bktree"
    )
    searching = time.perf_counter() - started
    check(
        sum(map(len, found.values())) == 2 * (near_hashes(images, 0) + near_hashes(images, 1)), "imagededup's"
    )
    return 0.0, searching


def near_hashes(images: int, kind: int) -> int:
    """Return how many images repeat another in a way."""
    return int((kinds_of(np.arange(EVERY - 1, images, EVERY)) == kind).sum())


def by_faiss(images: int, classes: int) -> tuple[float, float]:
    """Search each class in a flat index, all embeddings in memory."""
    import faiss

    labels, embeddings = labels_of(images, classes), np.empty((images, SIZE), dtype=np.float32)
    for number, (_, views) in enumerate(lots(images, classes)):
        embeddings[number * LOT : number * LOT + len(views)] = views.embeddings
    started, found = time.perf_counter(), 0
    for label in range(classes):
        some = embeddings[labels == label]
        index = faiss.IndexFlatIP(SIZE)
        index.add(some)
        found += len(index.range_search(some, LIMITS.similarity)[1]) - len(some)
    check(found == 2 * near_hashes(images, 2), f"{found} pairs by faiss")
    return 0.0, time.perf_counter() - started


def check(is_right: bool, what: str) -> None:
    if not is_right:
        raise SystemExit(f"found something else than what was planted: {what}")


def as_text(results: dict[str, dict[str, float]]) -> str:
    """Return a table of the measurements, and the ratios below it."""
    lines = [f"{'':<12}{'s to take in':>14}{'s to search':>14}{'MB peak':>10}"]
    for name, row in results.items():
        if name != "ratios":
            lines.append(
                f"{name:<12}{row['taking']:>14.1f}{row['searching']:>14.2f}{row['megabytes']:>10.0f}"
            )
    lines += [f"{name}: {value:.2f}" for name, value in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
