"""What to generate for each measurement: conditioning images of the `train` part, balanced over classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from pretraining.tiny_unclip.generate import Request, embed
from synthkit.sources.base import load_image
from synthkit.sources.digits import CLASSES, DigitsSource

if TYPE_CHECKING:
    from diffusers import StableUnCLIPImg2ImgPipeline
    from numpy.typing import NDArray

FIRST_SEED = 1000
CROP_SIZE = 224


@dataclass(frozen=True)
class Pool:
    """Real images with their embeddings; `usable` are, per class, the rows of the long-tailed part."""

    images: NDArray[np.uint8]
    labels: list[int]
    embeddings: Tensor
    usable: list[list[int]]

    @classmethod
    def of_training_part(cls, pipeline: StableUnCLIPImg2ImgPipeline) -> Pool:
        """All 600 images of the training pool; conditioning uses only those of the long-tailed part."""
        whole = DigitsSource("train", max_per_class=60, imbalance_factor=1.0)
        part = set(DigitsSource("train").listing.ids)
        pictures = [load_image(whole, row) for row in range(len(whole.listing))]
        labels = whole.listing.labels.tolist()
        rows = [row for row, name in enumerate(whole.listing.ids) if name in part]
        return cls(
            images=np.stack([np.asarray(picture) for picture in pictures]),
            labels=labels,
            embeddings=embed(pipeline, pictures),
            usable=[[row for row in rows if labels[row] == label] for label in range(len(CLASSES))],
        )

    def random_image_rows(self, per_class: int) -> list[int]:
        """Return the conditioning image of each generation: a class's images in turn, classes interleaved."""
        return [of_class[k % len(of_class)] for k in range(per_class) for of_class in self.usable]

    def random_image(self, per_class: int) -> Request:
        """One embedding, one prompt, one seed per image, nothing shared on purpose."""
        rows = self.random_image_rows(per_class)
        return self._request(rows, list(range(FIRST_SEED, FIRST_SEED + len(rows))))

    def same_source(self, sources: int, seeds: int) -> tuple[Request, list[int]]:
        """Return a request of `sources` images a class with `seeds` seeds each, and groups by source."""
        chosen = [row for of_class in self.usable for row in of_class[:sources]]
        grid = list(product(chosen, range(seeds)))
        rows = [row for row, _ in grid]
        return self._request(rows, [FIRST_SEED + seed for _, seed in grid]), rows

    def same_seed(self, seeds: int, sources: int) -> tuple[Request, list[tuple[int, int]]]:
        """Up to `sources` images of each class under `seeds` seeds; groups share class and seed."""
        chosen = [row for of_class in self.usable for row in of_class[:sources]]
        grid = list(product(chosen, range(seeds)))
        rows = [row for row, _ in grid]
        groups = [(self.labels[row], seed) for row, seed in grid]
        return self._request(rows, [FIRST_SEED + seed for _, seed in grid]), groups

    def partners(self, request: Request) -> list[int]:
        """For each image of a request, another real image of its class, drawn by the image's seed."""
        usable = [self.usable[label] for label in request.labels]
        return [rows[seed * 7 % len(rows)] for rows, seed in zip(usable, request.seeds, strict=True)]

    def _request(self, rows: list[int], seeds: list[int]) -> Request:
        return Request(self.embeddings[rows], [self.labels[row] for row in rows], seeds)


def text_only(request: Request) -> Request:
    """All-zero embeddings: the prompt alone says what to draw."""
    return replace(request, embeddings=torch.zeros_like(request.embeddings))


def dropout(request: Request, rate: float) -> Request:
    """Each coordinate of the embedding zeroed with probability `rate`, the rest left as it is."""
    generator = torch.Generator().manual_seed(FIRST_SEED)
    kept = torch.rand(request.embeddings.shape, generator=generator) >= rate
    return replace(request, embeddings=request.embeddings * kept)


def embedding_mixup(request: Request, pool: Pool) -> Request:
    """Each embedding mixed with that of another image of the class, in a uniformly drawn proportion."""
    share = _shares(request)
    other = pool.embeddings[pool.partners(request)]
    return replace(request, embeddings=share * request.embeddings + (1 - share) * other)


def pixel_mixup(request: Request, pool: Pool, pipeline: StableUnCLIPImg2ImgPipeline) -> Request:
    """Random resized crops (224 pixels) of two images of the class, mixed in pixels, then embedded."""
    crop = RandomResizedCrop(CROP_SIZE)
    own = [pool.usable[label][seed % len(pool.usable[label])] for label, seed in _pairs(request)]
    mixed = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(FIRST_SEED)
        for first, second, share in zip(own, pool.partners(request), _shares(request).flatten(), strict=True):
            pair = [crop(Image.fromarray(pool.images[row])) for row in (first, second)]
            mixed.append(Image.blend(pair[1], pair[0], float(share)))
    return replace(request, embeddings=embed(pipeline, mixed))


def _pairs(request: Request) -> list[tuple[int, int]]:
    return list(zip(request.labels, request.seeds, strict=True))


def _shares(request: Request) -> Tensor:
    return torch.rand(len(request.labels), 1, generator=torch.Generator().manual_seed(FIRST_SEED + 1))
