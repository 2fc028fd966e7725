"""Parquet shards against tars: size, and the time to write, check, index and stream the same samples.

    python bench/containers.py [--images 1000] [--rounds 5] [--json]

The samples are records and images of two kinds: 32-pixel PNG files of a kilobyte, as digits have, and
512-pixel JPEG files with the spectrum of photographs. Measured is processor time: of writing, checking,
indexing (finding each image in the file), and of streaming with `datasets`, of rows with image files and of
images as arrays, from the first row on. Both containers take turns in one run, and the median of all rounds
counts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets  # noqa: TID253
import numpy as np
from load import jpeg, picture  # bench/load.py
from PIL import Image

from synthkit.release.containers import CONTAINERS, container_of
from synthkit.release.containers.base import Shard
from synthkit.release.records import Provenance, Provenance2, key_of
from synthkit.release.shards import Origin, ShardWriter
from synthkit.sources.base import SourceImage
from synthkit.system.environment import library_versions
from synthkit.version import FORMAT_VERSION, __version__

# What `datasets` calls the container, and its column of images.
LOADERS = {"tar": ("webdataset", None), "parquet": ("parquet", "image")}
Samples = list[tuple[Provenance, bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000, help="images of each kind (default: 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that the median is taken of")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    datasets.disable_progress_bars()
    found = {
        kind: measure(extension, samples(make, extension, options.images), options.rounds)
        for kind, (extension, make) in KINDS.items()
    }
    ratios = {
        f"{kind}: {what}, Parquet / tar": round(numbers["parquet"] / numbers["tar"], 2)
        for kind, results in found.items()
        for what, numbers in results.items()
    }
    if options.json:
        print(json.dumps({"ratios": ratios, "results": found}))
        return
    for kind, results in found.items():
        for what, numbers in results.items():
            print(f"{kind}: {what}: " + ", ".join(f"{name} {value:,.4g}" for name, value in numbers.items()))
    for name, value in ratios.items():
        print(f"{name}: {value}")


def photograph(rng: np.random.Generator) -> bytes:
    return jpeg(picture(rng, 512, 512), 95)


def digit(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    pixels = rng.integers(0, 16, (32, 32), dtype=np.uint8) * 16
    Image.fromarray(pixels).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


KINDS: dict[str, tuple[str, Callable[[np.random.Generator], bytes]]] = {
    "32-pixel PNG": ("png", digit),
    "512-pixel JPEG": ("jpg", photograph),
}


def samples(make: Callable[[np.random.Generator], bytes], extension: str, count: int) -> Samples:
    """Return samples with records as long as those of a build; of large images, 50 different ones."""
    rng = np.random.default_rng(0)
    different = [make(rng) for _ in range(min(count, 50 if extension == "jpg" else count))]
    return [
        (record(index, different[index % len(different)]), different[index % len(different)])
        for index in range(count)
    ]


def record(index: int, image: bytes) -> Provenance:
    sha256 = hashlib.sha256(image).hexdigest()
    source = SourceImage(id=f"train/n01440764/{index}.JPEG", sha256=sha256)
    return Provenance2(
        key=key_of(index),
        label=index % 10,
        class_name="tench",
        prompt="a photo of a tench",
        method="embed-cutmix-dropout",
        sources=(source, source),
        lam=0.5,
        region=(20, 400),
        crops=(),
        dropout=0.4,
        guidance_scale=2.0,
        steps=25,
        scheduler="pndm",
        noise_level=0,
        seed=2**62 + index,
        model="radames/stable-diffusion-2-1-unclip-img2img",
        revision=sha256,
        batch_size=16,
        width=512,
        height=512,
        image_sha256=sha256,
        attempt=0,
        rejected=(),
        scores=(),
        generation_digest=sha256,
        synthkit_version=__version__,
    )


def measure(extension: str, rows: Samples, rounds: int) -> dict[str, dict[str, float]]:
    """Return, by what is measured, the bytes or the seconds of each container."""
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in CONTAINERS:
                for what, value in steps(Path(folder), name, extension, rows).items():
                    found.setdefault(what, {}).setdefault(name, []).append(value)
    return {
        what: {name: statistics.median(values) for name, values in numbers.items()}
        for what, numbers in found.items()
    }


def steps(folder: Path, container: str, extension: str, rows: Samples) -> dict[str, float]:
    """Write a shard and read it in every way."""
    path = folder / f"train-00000.{container}"
    shard = Shard(path, 0, extension, FORMAT_VERSION)

    def write() -> None:
        with ShardWriter(folder, path.name, extension, Origin("", {}), "") as writer:
            for item in rows:
                writer.write(*item)

    writing = seconds(write)
    reader = container_of(path)
    return {
        "bytes": path.stat().st_size,
        "writing": writing,
        "checking": seconds(lambda: exhaust(reader.inspect(shard, library_versions()))),
        "indexing": seconds(lambda: exhaust(reader.places(shard))),
        "streaming rows": streaming(path, container, extension, decode=False),
        "streaming images": streaming(path, container, extension, decode=True),
    }


def seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def exhaust(items: Any) -> None:
    for _ in items:
        pass


def streaming(path: Path, container: str, extension: str, *, decode: bool) -> float:
    """Return the seconds of processor time that `datasets` takes from the first row to the last."""
    loader, column = LOADERS[container]
    rows = datasets.load_dataset(loader, data_files=str(path), split="train", streaming=True)
    image = column or extension
    rows = iter(rows.cast_column(image, datasets.Image(decode=decode)))
    next(rows)
    started = time.process_time()
    for row in rows:
        if decode:
            np.asarray(row[image])
    return time.process_time() - started


if __name__ == "__main__":
    main()
