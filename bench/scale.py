"""What everything but the model costs when ImageNet-LT is filled up: 1,164,154 images in 1,165 shards.

    python bench/scale.py [--scale 0.05] [--json]

A rehearsal with `builtin:flat-colours`: a list with the class counts of ImageNet-LT and 115,846 small
JPEGs, then the commands of a user, each in a process of its own: plan, build in two parts, merge, a
build that finds nothing to do, one that lacks a shard, verify. Three sizes: the whole, a quarter and a
sixteenth of it. The peer of the writing of shards is `webdataset.ShardWriter` with the same samples.

The limits that synthkit sets itself, in processor time, which a busy machine changes least: linear in
images (at most 1.25), memory that at most doubles from a quarter to the whole (the plan and the real
images are in it) and stays below 1.5 GB, all of it together less than 2 % of the time that one H200
needs for the images, and writing shards no slower than the peer. The whole took 18 minutes on two
busy cores; all of it leaves 12 GB on a disk while it runs.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CLASSES = ROOT / "tests" / "data" / "imagenet_lt_classes.csv"
TARGET = 1280
SHARD_SIZE = 1000
SIZES = {"sixteenth": 1 / 16, "quarter": 1 / 4, "whole": 1.0}
# Images per second of an H200 (recipes/imagenet_lt_ecd.yaml).
H200_RATE = 2.96
PEER_IMAGES = 20_000
STEPS = ("plan", "build", "merge", "again", "resume", "verify")
_LINUX = sys.platform == "linux"

Row = dict[str, float]


class Cost(NamedTuple):
    """Of one or more processes side by side: wall time, their processor time, the peak of the largest."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--scale", type=float, default=1.0, help="a share of the whole, for a quick run")
    arguments.add_argument("--sizes", default=",".join(SIZES), help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help="where to work, and to leave what was made")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--write", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.prepare:
        prepare(given.prepare, given.scale)
    elif given.write:
        write_samples(given.write, given.folder)
    else:
        sizes = {name: SIZES[name] * given.scale for name in given.sizes.split(",")}
        results = measure_in(given.folder, sizes)
        print(json.dumps(results, indent=2) if given.json else as_text(results))


def measure_in(kept: Path | None, sizes: dict[str, float]) -> dict[str, dict[str, Row]]:
    """All measurements, in a folder that is kept or in one that is not."""
    if kept is not None:
        return measure(kept, sizes)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), sizes)
        shutil.rmtree(folder)
        Path(folder).mkdir()
    return results


def measure(root: Path, sizes: dict[str, float]) -> dict[str, dict[str, Row]]:
    """Measure the steps at every size and the peer, and return them with their ratios."""
    results: dict[str, dict[str, Row]] = {}
    for name, scale in sizes.items():
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, __file__, "--prepare", str(folder), "--scale", str(scale)], root)
        results[name] = steps(folder)
        tell(f"{name}: {results[name]['all']['images']:,.0f} images\n{table(results[name])}")
    results["shard_writers"] = peers(root / next(reversed(sizes)))
    results["ratios"] = ratios(results, list(sizes))
    return results


def prepare(folder: Path, scale: float) -> None:
    """Write the list, its images and the recipe of one size."""
    import numpy as np
    from PIL import Image

    with CLASSES.open(encoding="utf-8", newline="") as stream:
        counts = [max(1, round(int(row["train_images"]) * scale)) for row in csv.DictReader(stream)]
    colours = np.random.default_rng(0)
    lines = []
    for label, count in enumerate(counts):
        (folder / f"images/train/n{label:08d}").mkdir(parents=True)
        for k in range(count):
            name = f"train/n{label:08d}/n{label:08d}_{k}.JPEG"
            pixels = colours.integers(0, 256, (4, 5, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            Image.fromarray(pixels).save(folder / "images" / name)
            lines.append(f"{name} {label}\n")
    (folder / "list.txt").write_text("".join(lines))
    (folder / "recipe.yaml").write_text(json.dumps(recipe(folder, round(TARGET * scale)), indent=2))


def recipe(folder: Path, target: int) -> dict[str, object]:
    """Return the recipe of ImageNet-LT, without a model."""
    return {
        "name": "rehearsal",
        "version": "1.0.0",
        "license": "cc-by-4.0",
        "source": {
            "kind": "listing",
            "list": str(folder / "list.txt"),
            "root": str(folder / "images"),
            "names": "imagenet",
        },
        "prompt": "{name}",
        "target_per_class": target,
        "conditioning": {"method": "embed-cutmix-dropout", "dropout": 0.4},
        "model": {"id": "builtin:flat-colours"},
        "sampler": {"batch_size": 16},
        "output": {"shard_size": SHARD_SIZE},
        "seed": 2025,
    }


def steps(folder: Path) -> dict[str, Row]:
    """Do what a user does, in order, and return the cost of each step."""
    release, work = folder / "releases" / "rehearsal", folder / "releases" / ".synthkit"
    results = {"plan": run(synthkit("plan"), folder)}
    parts = [synthkit("build", "--shards", f"{part}/2", "--out", f"node{part}") for part in (1, 2)]
    results["build"] = run_together(parts, folder)
    results["merge"] = run([*synthkit("merge", "--out", "releases"), "node1", "node2"], folder)
    results["again"] = run(synthkit("build", "--out", "releases"), folder)
    shutil.rmtree(release)
    next(work.glob("*/shards/*.tar")).unlink()
    results["resume"] = run(synthkit("build", "--out", "releases"), folder)
    results["verify"] = run([sys.executable, "-m", "synthkit", "verify", str(release)], folder)
    manifest = json.loads((release / "manifest.json").read_text())
    images = manifest["images"]
    rows = {
        name: {**cost._asdict(), "microseconds_per_image": cost.seconds / images * 1e6}
        for name, cost in results.items()
    }
    return {**rows, "all": whole(release, manifest, list(results.values()))}


def whole(release: Path, manifest: dict[str, object], costs: list[Cost]) -> Row:
    """Return sizes and costs of a release, and the costs as a share of a GPU's time to generate it."""
    images = int(str(manifest["images"]))
    files = [path for path in release.rglob("*") if path.is_file()]
    sizes = {path.name: path.stat().st_size for path in files}
    return {
        "images": images,
        "shards": len(list(release.glob("data/*.tar"))),
        "files": len(files),
        "gigabytes": sum(sizes.values()) / 1e9,
        "manifest_bytes": sizes["manifest.json"],
        "croissant_bytes": sizes["croissant.json"],
        "provenance_bytes_per_image": sizes["train.parquet"] / images,
        "seconds": sum(cost.seconds for cost in costs),
        "cpu_seconds": sum(cost.cpu_seconds for cost in costs),
        "megabytes": max(cost.megabytes for cost in costs),
        "share_of_generation": sum(cost.cpu_seconds for cost in costs) / (images / H200_RATE),
    }


def peers(folder: Path) -> dict[str, Row]:
    """Processor time per image of writing shards: ours with records, checksums and syncing; the peer's."""
    release = str(folder / "releases" / "rehearsal")
    rows = {}
    for name in ("synthkit", "webdataset"):
        command = [sys.executable, __file__, "--write", name, "--folder", release]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
        rows[name] = {"microseconds_per_image": float(told.stdout) / PEER_IMAGES * 1e6}
    return rows


def write_samples(name: str, release: Path) -> None:
    """Write samples of a release again, and print the processor time; reading them does not count."""
    samples = list(read_samples(release))
    with tempfile.TemporaryDirectory(dir=release.parent) as folder:
        write = write_webdataset if name == "webdataset" else write_synthkit
        write(Path(folder), samples[:1])  # What is imported on first use.
        started = time.process_time()
        for turn in range(PEER_IMAGES // len(samples)):
            place = Path(folder) / str(turn)
            place.mkdir()
            write(place, samples)
        seconds = time.process_time() - started
        print(seconds * PEER_IMAGES / (PEER_IMAGES // len(samples) * len(samples)))


def read_samples(release: Path) -> list[dict[str, bytes]]:
    """Return the members of a release's first shard, by sample."""
    import tarfile

    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(min(release.glob("data/*.tar"))) as tar:
        for member in tar:
            key, extension = member.name.split(".")
            stream = tar.extractfile(member)
            assert stream is not None
            samples.setdefault(key, {"__key__": key.encode()})[extension] = stream.read()
    return list(samples.values())


def write_webdataset(folder: Path, samples: list[dict[str, bytes]]) -> None:
    from webdataset import ShardWriter

    with ShardWriter(f"{folder}/train-%05d.tar", maxcount=SHARD_SIZE, verbose=0) as writer:
        for sample in samples:
            writer.write({**sample, "__key__": sample["__key__"].decode()})


def write_synthkit(folder: Path, samples: list[dict[str, bytes]]) -> None:
    from synthkit.release.records import read_record
    from synthkit.release.shards import Origin, ShardWriter

    with ShardWriter(folder, "train-00000.tar", "png", Origin("", {}), "") as writer:
        for sample in samples:
            writer.write(read_record(sample["json"]), sample["png"])


def ratios(results: dict[str, dict[str, Row]], sizes: list[str]) -> Row:
    """Of every step from a size to the next, whether its processor time grows as the images: 1 is linear."""
    found: Row = {}
    for small, large in itertools.pairwise(sizes):
        before, after = results[small], results[large]
        times = after["all"]["images"] / before["all"]["images"]
        for step in STEPS:
            seconds, megabytes = (
                after[step][key] / before[step][key] for key in ("cpu_seconds", "megabytes")
            )
            found[f"{step}_seconds_{large}_vs_linear"] = seconds / times
            found[f"{step}_megabytes_{large}_vs_{small}"] = megabytes
    last = results[sizes[-1]]
    writers = results["shard_writers"]
    ours, peer = (writers[name]["microseconds_per_image"] for name in ("synthkit", "webdataset"))
    return {
        **found,
        "megabytes_of_1500": last["all"]["megabytes"] / 1500,
        "share_of_generation_of_2_percent": last["all"]["share_of_generation"] / 0.02,
        "shard_writer_vs_webdataset": ours / peer,
    }


def synthkit(command: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "synthkit", command, "recipe.yaml", *options]


def run(command: list[str], folder: Path) -> Cost:
    return run_together([command], folder)


def run_together(commands: list[list[str]], folder: Path) -> Cost:
    """Run processes side by side; all must succeed."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        running = [
            subprocess.Popen(command, cwd=folder, stdout=told, stderr=told, env=environment())
            for command in commands
        ]
        usages = []
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            usages.append(usage)
        seconds = time.perf_counter() - started
        if any(process.returncode for process in running):
            told.seek(0)
            raise SystemExit(f"{' '.join(commands[0])} failed: {told.read()[-2000:]}")
    # Of a process's children, those that it has waited for count. KiB on Linux, bytes on macOS.
    peak = max(usage.ru_maxrss for usage in usages) / (1000 if _LINUX else 1e6)
    return Cost(seconds, sum(usage.ru_utime + usage.ru_stime for usage in usages), peak)


def environment() -> dict[str, str]:
    """Return the environment of a process in which the repository can be imported."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "eval")])}


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(rows: dict[str, Row]) -> str:
    """Return a table of the steps at one size."""
    lines = [f"{'':<10}{'seconds':>10}{'CPU s':>10}{'µs/image':>10}{'MB peak':>10}"]
    for step in STEPS:
        row = rows[step]
        lines.append(
            f"{step:<10}{row['seconds']:>10.1f}{row['cpu_seconds']:>10.1f}"
            f"{row['microseconds_per_image']:>10.1f}{row['megabytes']:>10.0f}"
        )
    return "\n".join(lines)


def as_text(results: dict[str, dict[str, Row]]) -> str:
    """Tables of what was measured, then the ratios."""
    lines = []
    for name, rows in results.items():
        if "all" in rows:
            facts = rows["all"]
            lines += [f"{name}: {facts['images']:,.0f} images in {facts['shards']:,.0f} shards", table(rows)]
            lines += [f"  {key}: {value:,.4g}" for key, value in facts.items()]
    lines += [
        f"writing shards, {name}: {row['microseconds_per_image']:.0f} µs per image"
        for name, row in results["shard_writers"].items()
    ]
    lines += [f"{name}: {value:.2f}" for name, value in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
