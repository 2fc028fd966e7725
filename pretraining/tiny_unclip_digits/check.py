"""Measures a saved pipeline: `python -m pretraining.tiny_unclip_digits.check [--model DIR] [--json]`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pretraining.tiny_unclip.export import load
from pretraining.tiny_unclip.generate import BATCH, Request, generate
from pretraining.tiny_unclip_digits.judge import Judge, as_grey, predict, train_judge
from pretraining.tiny_unclip_digits.scenarios import Pool, dropout, embedding_mixup, pixel_mixup, text_only
from pretraining.tiny_unclip_digits.spread import (
    closeness_to_source,
    feature_vectors,
    pixel_vectors,
    spread_within,
)
from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from diffusers import StableUnCLIPImg2ImgPipeline
    from numpy.typing import NDArray

    Sets = dict[str, tuple[NDArray[np.uint8], Sequence[Hashable]]]  # images and their groups

Report = dict[str, dict[str, float]]
DEFAULT_MODEL = Path(__file__).resolve().parents[2] / "synthkit" / "generators" / "tiny_unclip_digits"
PER_CLASS = 24
SEEDS_PER_SOURCE, SOURCES_PER_CLASS = 12, 2
REAL = "real images of a class"
TEMPLATES = ("a photo of a {}", "a photo of the digit {}", "the digit {}")


def measure(folder: Path) -> Report:
    """Every number of the model card; about three minutes on two cores."""
    torch.set_num_threads(2)
    judge, pipeline = train_judge(), load(folder)
    pool = Pool.of_training_part(pipeline)
    base = pool.random_image(PER_CLASS)
    images = {
        "random-image": generate(pipeline, base),
        "text-only": generate(pipeline, text_only(base)),
        "dropout 0.4": generate(pipeline, dropout(base, 0.4)),
        "embed-mixup": generate(pipeline, embedding_mixup(base, pool)),
        "pixel-mixup of crops": generate(pipeline, pixel_mixup(base, pool, pipeline)),
    }
    labels = np.asarray(base.labels)
    sets = _sets(pipeline, pool, images, list(base.labels))
    return {
        "class agreement": {name: _agreement(judge, made, labels) for name, made in images.items()},
        "class agreement by prompt": _by_prompt(pipeline, judge, base),
        "class agreement by class": _by_class(judge, images["random-image"], labels),
        "conflicting prompt": _conflicts(pipeline, judge, base),
        "spread in pixels": _spreads(None, sets),
        "spread in judge features": _spreads(judge, sets),
        "closeness to the source": _closeness(pool, images["random-image"]),
        "judge": {"accuracy on the real test part": _judge_accuracy(judge)},
        "speed": {"images per second": _images_per_second(pipeline, base)},
    }


def _agreement(judge: Judge, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    return float((predict(judge, images) == labels).mean())


def _by_class(judge: Judge, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, float]:
    right = predict(judge, images) == labels
    return {name: float(right[labels == label].mean()) for label, name in enumerate(CLASSES)}


def _by_prompt(pipeline: StableUnCLIPImg2ImgPipeline, judge: Judge, base: Request) -> dict[str, float]:
    """Text-only, because there the prompt must do all the work; and images without a prompt."""
    labels = np.asarray(base.labels)
    shares = {}
    for template in TEMPLATES:
        request = replace(text_only(base), template=template)
        shares[template.format("...")] = _agreement(judge, generate(pipeline, request), labels)
    shares["numeral"] = _agreement(judge, generate(pipeline, replace(text_only(base), numerals=True)), labels)
    unprompted = replace(base, template="")
    shares["random-image, no prompt"] = _agreement(judge, generate(pipeline, unprompted), labels)
    return shares


def _conflicts(pipeline: StableUnCLIPImg2ImgPipeline, judge: Judge, base: Request) -> dict[str, float]:
    """Return which class the judge sees where the embedding shows one and the prompt names another."""
    shown = np.asarray(base.labels)
    asked = (shown + 1 + np.arange(len(shown)) % 9) % 10
    shares = {}
    for guidance in (2.0, 7.0):
        request = replace(base, labels=asked.tolist(), guidance=guidance)
        seen = predict(judge, generate(pipeline, request))
        shares[f"prompt wins, guidance {guidance:g}"] = float((seen == asked).mean())
        shares[f"image wins, guidance {guidance:g}"] = float((seen == shown).mean())
    return shares


def _spreads(judge: Judge | None, sets: Sets) -> dict[str, float]:
    """Within-group distances of every set, in pixels or (with a judge) in its features, and as shares."""
    spreads = {
        name: spread_within(pixel_vectors(made) if judge is None else feature_vectors(judge, made), groups)
        for name, (made, groups) in sets.items()
    }
    real = spreads[REAL]
    return spreads | {f"{name} / real": value / real for name, value in spreads.items() if name != REAL}


def _sets(
    pipeline: StableUnCLIPImg2ImgPipeline, pool: Pool, images: dict[str, NDArray[np.uint8]], labels: list[int]
) -> Sets:
    same_source, source_groups = pool.same_source(SOURCES_PER_CLASS, SEEDS_PER_SOURCE)
    same_seed, seed_groups = pool.same_seed(SOURCES_PER_CLASS, SEEDS_PER_SOURCE)
    sets: Sets = {
        REAL: real_part("test"),
        "same source, different seeds": (generate(pipeline, same_source), source_groups),
        "same source, different seeds, dropout 0.4": (
            generate(pipeline, dropout(same_source, 0.4)),
            source_groups,
        ),
        "same seed, different sources": (generate(pipeline, same_seed), seed_groups),
    }
    return sets | {f"{name}, of a class": (made, labels) for name, made in images.items()}


def _closeness(pool: Pool, images: NDArray[np.uint8]) -> dict[str, float]:
    """Against the whole pool of 60 real images of each class, the sources among them."""
    return closeness_to_source(
        pixel_vectors(images), pixel_vectors(pool.images), pool.random_image_rows(PER_CLASS), pool.labels
    )


def real_part(part: str) -> tuple[NDArray[np.uint8], list[int]]:
    """Return a part of the digits as (N, 32, 32, 3) uint8 and labels."""
    source = DigitsSource(part)  # type: ignore[arg-type]
    images = np.stack([np.asarray(load_image(source, i)) for i in range(len(source.listing))])
    return images, source.listing.labels.tolist()


def _judge_accuracy(judge: Judge) -> float:
    images, labels = real_part("test")
    with torch.no_grad():
        return float((judge(as_grey(images)).argmax(dim=1).numpy() == np.asarray(labels)).mean())


def _images_per_second(pipeline: StableUnCLIPImg2ImgPipeline, base: Request) -> float:
    """Return the rate of the fastest of eight batches: other work on the machine can only slow one down."""
    batch = replace(
        base, embeddings=base.embeddings[:BATCH], labels=base.labels[:BATCH], seeds=base.seeds[:BATCH]
    )
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        generate(pipeline, batch)
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds)


def as_lines(report: Report) -> list[str]:
    """Return the report as plain text, one number per line under its heading."""
    lines = []
    for heading, numbers in report.items():
        lines.append(heading)
        lines += [f"  {name:<45} {value:.4g}" for name, value in numbers.items()]
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the embedded digits pipeline.")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    report = measure(options.model)
    print(json.dumps(report, indent=2) if options.json else "\n".join(as_lines(report)))


if __name__ == "__main__":
    main()
