"""How long and how much memory planning ImageNet-LT takes, beside a plan made image by image.

    python bench/plan.py [--json]

Each contender runs in a process of its own, in turn, several rounds; medians count. The peer is the
plain way, as per-image scripts do it: one dict per image, its pair drawn with `random.sample`. The
limits that synthkit sets itself: `synthkit plan` within 5 s and 400 MB, and cost linear in images.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLASSES = ROOT / "tests" / "data" / "imagenet_lt_classes.csv"
TARGET = 1280
ROUNDS = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--contender", help=argparse.SUPPRESS)
    arguments.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.contender:
        run_contender(given.contender, given.list)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measure(write_list(Path(folder) / "ImageNet_LT_train.txt"))
    print(json.dumps(results, indent=2) if given.json else as_text(results))


def write_list(path: Path) -> Path:
    """Write a list with as many lines of each class as ImageNet_LT_train.txt has."""
    with CLASSES.open(encoding="utf-8", newline="") as stream:
        counts = [int(row["train_images"]) for row in csv.DictReader(stream)]
    lines = [
        f"train/n{c:08d}/n{c:08d}_{k}.JPEG {c}\n" for c, count in enumerate(counts) for k in range(count)
    ]
    path.write_text("".join(lines))
    return path


def measure(list_file: Path) -> dict[str, dict[str, float]]:
    """Seconds and peak memory (MB) of each contender: the median of the rounds."""
    contenders = ("command", "columns", "columns_half", "image_by_image")
    rounds = [[run(name, list_file) for name in contenders] for _ in range(ROUNDS)]
    results = {
        name: {
            "seconds": statistics.median(row[place][0] for row in rounds),
            "megabytes": statistics.median(row[place][1] for row in rounds),
        }
        for place, name in enumerate(contenders)
    }
    whole, half, peer = results["columns"], results["columns_half"], results["image_by_image"]
    results["ratios"] = {
        "image_by_image_seconds_vs_columns": peer["seconds"] / whole["seconds"],
        "image_by_image_megabytes_vs_columns": peer["megabytes"] / whole["megabytes"],
        "twice_the_images_seconds": whole["seconds"] / half["seconds"],
        "command_seconds_of_5": results["command"]["seconds"] / 5,
        "command_megabytes_of_400": results["command"]["megabytes"] / 400,
        "columns_megabytes_of_400": whole["megabytes"] / 400,
    }
    return results


def run(name: str, list_file: Path) -> tuple[float, float]:
    """Seconds and peak megabytes: of the whole process for the command, of the planning for the others."""
    command = [sys.executable, __file__, "--contender", name, "--list", str(list_file)]
    if name == "command":
        recipe = ROOT / "recipes" / "imagenet_lt_ecd.yaml"
        command = [sys.executable, "-m", "synthkit", "plan", str(recipe), "--set", f"source.list={list_file}"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise SystemExit(f"{name} failed")
    # ru_maxrss is in KiB on Linux, in bytes on macOS.
    megabytes = usage.ru_maxrss / (1000 if sys.platform == "linux" else 1e6)
    return (seconds if name == "command" else float(output)), megabytes


def environment() -> dict[str, str]:
    """Return the environment of a contender's process, in which the repository can be imported."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_contender(name: str, list_file: Path) -> None:
    """Plan once and print the seconds it took, the reading of the list included."""
    started = time.perf_counter()
    planned = image_by_image(list_file) if name == "image_by_image" else columns(name, list_file)
    print(time.perf_counter() - started)
    if planned < 500_000:
        raise SystemExit(f"only {planned} images were planned")


def columns(name: str, list_file: Path) -> int:
    """Synthkit's plan of every image: seed, pair, shard."""
    from synthkit.recipe.load import load
    from synthkit.release.plan import make_plan
    from synthkit.sources import open_source

    target = TARGET // 2 + 59 if name == "columns_half" else TARGET
    changes = [f"source.list={list_file}", f"target_per_class={target}"]
    recipe = load(ROOT / "recipes" / "imagenet_lt_ecd.yaml", changes)
    return len(make_plan(recipe, open_source(recipe.source).listing))


def image_by_image(list_file: Path) -> int:
    """Plan the plain way, with a dict for every image."""
    images: dict[int, list[str]] = {}
    for line in list_file.read_text().splitlines():
        path, label = line.rsplit(" ", 1)
        images.setdefault(int(label), []).append(path)
    generator = random.Random(0)  # noqa: S311
    plan = [
        {
            "label": label,
            "seed": generator.getrandbits(63),
            "pair": generator.sample(paths, min(2, len(paths))),
        }
        for label, paths in images.items()
        for _ in range(TARGET - len(paths))
    ]
    generator.shuffle(plan)
    return len(plan)


def as_text(results: dict[str, dict[str, float]]) -> str:
    """Return a table of the measurements, and the ratios below it."""
    lines = [f"{'':<16}{'seconds':>10}{'MB peak':>10}"]
    for name, row in results.items():
        if name != "ratios":
            lines.append(f"{name:<16}{row['seconds']:>10.2f}{row['megabytes']:>10.0f}")
    lines += [f"{name}: {value:.2f}" for name, value in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
