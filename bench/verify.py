"""How long and how much memory `synthkit verify` takes, beside `sha256sum` over the same files.

    python bench/verify.py [--json]

The release is built here, valid to the last byte: 512-pixel JPEGs of noise of about 100 kB, 400 MB in
all, and another twice as large. Both contenders run as whole processes, in turn, several rounds, the
files in the page cache; medians count. The limits that synthkit sets itself: half the speed of
`sha256sum`, and memory that does not grow with the release.
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
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synthkit.builder.make import make_release
from synthkit.builder.options import Options
from synthkit.generators.flat import FlatColours
from synthkit.recipe.schema import Recipe
from synthkit.release.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
IMAGES, SHARD_SIZE, CLASSES, DISTINCT, PIXELS, GRAIN = 3840, 512, 10, 256, 512, 20
ROUNDS = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.make:
        make(given.make)
        return
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a child's peak memory counts from its parent's.
        subprocess.run([sys.executable, __file__, "--make", folder], check=True, env=environment())
        results = measure(Path(folder) / "whole" / "bench", Path(folder) / "double" / "bench")
    print(json.dumps(results, indent=2) if given.json else as_text(results))


def make(folder: Path) -> None:
    """Build both releases, with noise in place of the colours that no model makes."""
    pictures = noise()

    def generate(
        self: FlatColours, embeddings: object, prompts: object, seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
        return np.stack([pictures[seed % DISTINCT] for seed in seeds])

    FlatColours.generate = generate  # type: ignore[method-assign, assignment]
    for name, images in (("whole", IMAGES), ("double", 2 * IMAGES)):
        options = Options(out=folder / name, workers=1)
        make_release(the_recipe(images), options)


def noise() -> list[NDArray[np.uint8]]:
    """Distinct pictures, whose grain is as coarse as it takes for files of about 100 kB."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (DISTINCT, PIXELS // GRAIN, PIXELS // GRAIN, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(pixels).resize((PIXELS, PIXELS))) for pixels in small]


def the_recipe(images: int) -> Recipe:
    """Digits, so that nothing need be there; the default method."""
    return Recipe.model_validate(
        {
            "name": "bench",
            "version": "1.0.0",
            "license": "cc-by-4.0",
            "source": {"kind": "digits"},
            "synthetic_per_class": images // CLASSES,
            "model": {"id": "builtin:flat-colours"},
            "output": {"format": "jpeg", "shard_size": SHARD_SIZE},
        }
    )


def measure(whole: Path, double: Path) -> dict[str, dict[str, float]]:
    """Seconds of each contender and peak memory (MB) of ours: the median of the rounds."""
    contenders = {
        "verify": verify(whole),
        "sha256sum": sha256sum(whole),
        "verify_double": verify(double),
        "sha256sum_double": sha256sum(double),
    }
    for command in contenders.values():
        run(command)  # into the page cache
    rounds = [{name: run(command) for name, command in contenders.items()} for _ in range(ROUNDS)]
    results = {name: {"seconds": statistics.median(row[name][0] for row in rounds)} for name in contenders}
    for name in ("verify", "verify_double"):
        results[name]["megabytes"] = statistics.median(row[name][1] for row in rounds)
    ours, peer, larger = results["verify"], results["sha256sum"], results["verify_double"]
    results["ratios"] = {
        "verify_speed_vs_sha256sum": peer["seconds"] / ours["seconds"],
        "verify_speed_vs_sha256sum_double": results["sha256sum_double"]["seconds"] / larger["seconds"],
        "twice_the_release_megabytes": larger["megabytes"] / ours["megabytes"],
        "release_megabytes": sum(file.bytes for file in read_manifest(whole).files) / 1e6,
        "image_kilobytes": sum(file.bytes for file in read_manifest(whole).files) / IMAGES / 1e3,
    }
    return results


def verify(release: Path) -> list[str]:
    return [sys.executable, "-m", "synthkit", "verify", str(release)]


def sha256sum(release: Path) -> list[str]:
    return ["sha256sum", *(str(release / file.path) for file in read_manifest(release).files)]


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a whole process."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        told = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{command[:4]} failed: {told[-2000:]}")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    return seconds, usage.ru_maxrss / (1000 if sys.platform == "linux" else 1e6)


def environment() -> dict[str, str]:
    """Return the environment of a contender's process, in which the repository can be imported."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def as_text(results: dict[str, dict[str, float]]) -> str:
    """Return a table of the measurements, and the ratios below it."""
    lines = [f"{'':<18}{'seconds':>10}{'MB peak':>10}"]
    for name, row in results.items():
        if name != "ratios":
            memory = f"{row['megabytes']:>10.0f}" if "megabytes" in row else ""
            lines.append(f"{name:<18}{row['seconds']:>10.2f}{memory}")
    lines += [f"{name}: {value:.2f}" for name, value in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
