"""Measures a saved pipeline: `python -m pretraining.tiny_unclip_glyphs.check --fonts DIR [--json]`.

Every method is tried on handwritten digits, which the pipeline has never seen. Three things are asked of
its images: do they show their class; how near are they to handwriting; and what does a classifier that
learns from them alone know about real digits?
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.linalg import sqrtm

from pretraining.tiny_unclip.export import load
from pretraining.tiny_unclip.generate import Request, embed, generate
from pretraining.tiny_unclip_digits.check import DEFAULT_MODEL as DIGITS_MODEL
from pretraining.tiny_unclip_digits.check import real_part
from pretraining.tiny_unclip_digits.scenarios import Pool
from pretraining.tiny_unclip_digits.spread import pixel_vectors, spread_within
from pretraining.tiny_unclip_glyphs.fonts import font_files
from pretraining.tiny_unclip_glyphs.glyphs import DIGITS, Glyphs, render
from pretraining.tiny_unclip_glyphs.judge import predict, train_judge, train_on
from pretraining.tiny_unclip_glyphs.methods import request
from pretraining.tiny_unclip_glyphs.pictures import draw
from synthkit.conditioning import METHODS

if TYPE_CHECKING:
    from diffusers import StableUnCLIPImg2ImgPipeline
    from numpy.typing import NDArray
    from torch import Tensor, nn

Table = dict[str, dict[str, float]]  # rows, and their columns
Report = dict[str, Table]
DEFAULT_MODEL = Path(__file__).resolve().parents[2] / "synthkit" / "generators" / "tiny_unclip_glyphs"
PER_CLASS = 20
GUIDANCE = 2.0
OTHER_GUIDANCE = (1.0, 4.0)
TEMPLATES = ("a photo of a {}", "a picture of a {}", "a printed {}")
REAL = "real digits of the training part"


class Measured(NamedTuple):
    """The generated images of each method at the usual guidance, and what they are compared with."""

    images: dict[str, NDArray[np.uint8]]
    labels: Tensor
    nearness: Nearness


class Nearness:
    """How near images are to the real digits of the test part."""

    def __init__(self) -> None:
        images, labels = real_part("test")
        self._images, self._labels = images, torch.tensor(labels)
        self._encoder = load(DIGITS_MODEL)
        self._vectors = self._embed(images)

    def columns(self, images: NDArray[np.uint8], labels: Tensor) -> dict[str, float]:
        """Return distances and the accuracy on the test part of a classifier that learns from the images."""
        accuracy = (predict(train_on(images, labels), self._images) == self._labels).float().mean()
        return {
            "Fréchet distance": frechet(self._embed(images), self._vectors),
            "to the nearest, pixels": self._nearest(images, labels),
            "spread of a class": spread_within(pixel_vectors(images), labels.tolist()),
            "trains to": float(accuracy),
        }

    def _embed(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        from PIL import Image

        vectors = embed(self._encoder, [Image.fromarray(image) for image in images])
        return np.asarray(vectors.double().numpy())

    def _nearest(self, images: NDArray[np.uint8], labels: Tensor) -> float:
        """Mean distance, over all channels, from an image to the nearest real one of its class."""
        made, real = (torch.from_numpy(part).flatten(1).float() / 255 for part in (images, self._images))
        distances = torch.cdist(made, real) / 3**0.5  # of a grey image as if it had one channel
        distances[labels.unsqueeze(1) != self._labels] = torch.inf
        return float(distances.min(dim=1).values.mean())


def frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the Fréchet distance of two sets of vectors (N, D) as Gaussians (Heusel et al. 2017)."""
    shift = first.mean(axis=0) - second.mean(axis=0)
    a, b = (np.cov(vectors, rowvar=False) for vectors in (first, second))
    return float(shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real))


def measure(folder: Path, glyphs: Glyphs) -> Report:
    """Every number of the model card; about ten minutes on two cores."""
    torch.set_num_threads(2)
    judge, pipeline = train_judge(glyphs), load(folder)
    pool = Pool.of_training_part(pipeline)
    requests = {name: request(name, pool, pipeline, PER_CLASS) for name in METHODS}
    labels = torch.tensor(requests["random-image"].labels)
    images = {name: generate(pipeline, replace(asked, guidance=GUIDANCE)) for name, asked in requests.items()}
    measured = Measured(images, labels, Nearness())
    return {
        "class agreement": _agreements(pipeline, judge, requests, measured),
        "nearness to handwriting": _nearness(pool, measured),
        "other prompts, text-only": _prompts(pipeline, judge, requests["text-only"], labels),
        "judge": {"accuracy": _judge_accuracy(judge, glyphs)},
    }


def _agreement(judge: nn.Module, images: NDArray[np.uint8], labels: Tensor) -> float:
    return float((predict(judge, images) == labels).float().mean())


def _agreements(
    pipeline: StableUnCLIPImg2ImgPipeline, judge: nn.Module, requests: dict[str, Request], measured: Measured
) -> Table:
    """By method and guidance."""
    table = {}
    for name, asked in requests.items():
        shares = {f"guidance {GUIDANCE:g}": _agreement(judge, measured.images[name], measured.labels)}
        for guidance in OTHER_GUIDANCE:
            made = generate(pipeline, replace(asked, guidance=guidance))
            shares[f"guidance {guidance:g}"] = _agreement(judge, made, measured.labels)
        table[name] = dict(sorted(shares.items()))
    return table


def _nearness(pool: Pool, measured: Measured) -> Table:
    real = pool.random_image_rows(PER_CLASS)
    table = {REAL: measured.nearness.columns(pool.images[real], measured.labels)}
    for name, images in measured.images.items():
        table[name] = measured.nearness.columns(images, measured.labels)
    return table


def _prompts(
    pipeline: StableUnCLIPImg2ImgPipeline, judge: nn.Module, text_only: Request, labels: Tensor
) -> Table:
    """Text-only, because there the prompt must do all the work."""
    asked = {template.format("three"): replace(text_only, template=template) for template in TEMPLATES}
    asked["3"] = replace(text_only, numerals=True)
    return {
        prompt: {"class agreement": _agreement(judge, generate(pipeline, wish), labels)}
        for prompt, wish in asked.items()
    }


def _judge_accuracy(judge: nn.Module, glyphs: Glyphs) -> dict[str, float]:
    images, labels = real_part("test")
    generator = torch.Generator().manual_seed(10**6)
    digits = torch.nonzero(glyphs.classes < DIGITS).flatten()
    rows = digits[torch.randint(len(digits), (1000,), generator=generator)]
    with torch.no_grad():
        seen = judge(draw(glyphs, rows, generator)).argmax(dim=1)
    return {
        "real digits": _agreement(judge, images, torch.tensor(labels)),
        "drawn digits": float((seen == glyphs.classes[rows]).float().mean()),
    }


def main() -> None:
    """Command line."""
    from pretraining.tiny_unclip_glyphs.card import as_tables

    parser = argparse.ArgumentParser(description="Measure the embedded pipeline of rendered glyphs.")
    parser.add_argument("--fonts", type=Path, required=True, metavar="DIR", help="the unpacked fonts")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    report = measure(options.model, render(font_files(options.fonts)))
    print(json.dumps(report, indent=2) if options.json else as_tables(report))


if __name__ == "__main__":
    main()
