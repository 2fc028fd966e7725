"""How long and how much memory `synthkit verify` takes, beside `sha256sum` over the same files.

    python bench/verify.py [--json]

The release is made here, valid to the last byte: 512-pixel JPEGs of noise of about 100 kB, a few
hundred of them under ever new keys, 400 MB in all, and another twice as large. Both contenders run as
whole processes, in turn, several rounds, the files in the page cache; medians count. The limits that
synthkit sets itself: half the speed of `sha256sum`, and memory that does not grow with the release.
"""

from __future__ import annotations

import argparse
import hashlib
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

from synthkit.encoding import encode
from synthkit.manifest import (
    MANIFEST,
    ClassFacts,
    FileFacts,
    GeneratorFacts,
    Manifest,
    SourceFacts,
    file_facts,
    read_manifest,
)
from synthkit.marks import Mark
from synthkit.recipe import Recipe
from synthkit.records import Provenance, SourceImage, key_of
from synthkit.shards import ShardWriter, finished, records_path, shard_name, sidecar_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
IMAGES, SHARD_SIZE, CLASSES, DISTINCT, PIXELS, GRAIN = 3840, 512, 10, 256, 512, 20
GENERATOR = GeneratorFacts(name="builtin:tiny-unclip-digits", revision="0" * 64, dtype="float32")
NO_DIGEST = "0" * 64
METHOD = "embed-cutmix-dropout"
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
        results = measure(Path(folder) / "whole", Path(folder) / "double")
    print(json.dumps(results, indent=2) if given.json else as_text(results))


def make(folder: Path) -> None:
    """Write both releases."""
    pictures = noise()
    write_release(folder / "whole", IMAGES, pictures)
    write_release(folder / "double", 2 * IMAGES, pictures)


def noise() -> list[NDArray[np.uint8]]:
    """Distinct pictures, whose grain is as coarse as it takes for files of about 100 kB."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (DISTINCT, PIXELS // GRAIN, PIXELS // GRAIN, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(pixels).resize((PIXELS, PIXELS))) for pixels in small]


def write_release(folder: Path, images: int, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """A release as a build writes it, in which `verify` finds no fault."""
    import pyarrow.parquet as pq
    import yaml

    recipe = the_recipe(images)
    digest = recipe.digest(listing_digest=NO_DIGEST, model=GENERATOR.name, revision=GENERATOR.revision)
    data, shards = folder / "data", -(-images // SHARD_SIZE)
    data.mkdir(parents=True)
    (folder / "provenance").mkdir()
    encoder = Encoder(recipe, pictures)
    rows, files = [], []
    for shard in range(shards):
        name = shard_name(shard, shards)
        with ShardWriter(data, name, recipe.output.extension) as writer:
            for index in range(shard * SHARD_SIZE, min(images, (shard + 1) * SHARD_SIZE)):
                image = encoder.file(index)
                writer.write(the_record(index, image, digest, recipe), image)
        facts = finished(data, name)
        assert facts is not None
        files.append(
            FileFacts(path=f"data/{name}", bytes=facts.bytes, sha256=facts.sha256, images=facts.images)
        )
        rows.append(pq.read_table(records_path(data / name)))
        records_path(data / name).unlink()
        sidecar_path(data / name).unlink()
    with pq.ParquetWriter(folder / "provenance" / "train.parquet", rows[0].schema, compression="zstd") as out:
        for table in rows:
            out.write_table(table)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.portable(revision=GENERATOR.revision)))
    for name in ("README.md", "croissant.json", "samples.png"):
        (folder / name).write_text("{}")
    files += [
        file_facts(folder, path) for path in folder.rglob("*") if path.is_file() and path.parent != data
    ]
    (folder / MANIFEST).write_bytes(the_manifest(recipe, digest, images, files).sealed().to_json())


class Encoder:
    """Files of a few pictures under any number of keys.

    A JPEG's mark is a piece of its own, as long for every key: it is exchanged, the pixels are encoded once.
    """

    def __init__(self, recipe: Recipe, pictures: Sequence[NDArray[np.uint8]]) -> None:
        self._name = recipe.name
        self._files = [encode(pixels, recipe.output, self._mark(0))[0] for pixels in pictures]

    def file(self, index: int) -> bytes:
        """The file of an image."""
        raw = self._files[index % len(self._files)]
        return raw.replace(self._mark(0).packet(), self._mark(index).packet(), 1)

    def _mark(self, index: int) -> Mark:
        return Mark(self._name, key_of(index), GENERATOR.name, GENERATOR.revision)


def the_recipe(images: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "bench",
            "version": "1.0.0",
            "license": "cc-by-4.0",
            "source": {"kind": "digits"},
            "synthetic_per_class": -(-images // CLASSES),
            "model": {"id": GENERATOR.name, "revision": GENERATOR.revision},
            "output": {"format": "jpeg", "shard_size": SHARD_SIZE},
        }
    )


def the_record(index: int, image: bytes, digest: str, recipe: Recipe) -> Provenance:
    """A record as long as a real one."""
    label = index % CLASSES
    sources = [f"train/{label}/{index:06d}_{place}.jpg" for place in range(2)]
    return Provenance(
        key=key_of(index),
        label=label,
        class_name=f"class {label}",
        prompt=f"class {label}",
        method=METHOD,
        sources=tuple(SourceImage(name, hashlib.sha256(name.encode()).hexdigest()) for name in sources),
        lam=0.5,
        region=(0, 512),
        crops=((0, 0, 500, 375), (62, 0, 375, 375)),
        dropout=0.4,
        guidance_scale=recipe.sampler.guidance_scale,
        steps=recipe.sampler.steps,
        scheduler=recipe.sampler.scheduler,
        noise_level=0,
        seed=index * 7_919_000_000_007,
        model=GENERATOR.name,
        revision=GENERATOR.revision,
        batch_size=recipe.sampler.batch_size,
        width=PIXELS,
        height=PIXELS,
        image_sha256=hashlib.sha256(image).hexdigest(),
        attempt=0,
        rejected=(),
        recipe_digest=digest,
        synthkit_version="0.1.0",
    )


def the_manifest(recipe: Recipe, digest: str, images: int, files: list[FileFacts]) -> Manifest:
    counts = [len(range(label, images, CLASSES)) for label in range(CLASSES)]
    return Manifest(
        name=recipe.name,
        version=recipe.version,
        summary=recipe.summary,
        license=recipe.license,
        repo_id=None,
        partial=None,
        recipe_digest=digest,
        source=SourceFacts(kind="digits", images=CLASSES, digest=NO_DIGEST),
        generator=GENERATOR,
        method=METHOD,
        images=images,
        width=PIXELS,
        height=PIXELS,
        extension="jpg",
        classes=[
            ClassFacts(label=label, name=f"class {label}", group="few", real=1, synthetic=count)
            for label, count in enumerate(counts)
        ],
        skipped=[],
        environment={},
        files=sorted(files, key=lambda file: file.path),
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
    """The environment of a contender: the repository importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def as_text(results: dict[str, dict[str, float]]) -> str:
    """A table of what was measured, then the ratios."""
    lines = [f"{'':<18}{'seconds':>10}{'MB peak':>10}"]
    for name, row in results.items():
        if name != "ratios":
            memory = f"{row['megabytes']:>10.0f}" if "megabytes" in row else ""
            lines.append(f"{name:<18}{row['seconds']:>10.2f}{memory}")
    lines += [f"{name}: {value:.2f}" for name, value in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
