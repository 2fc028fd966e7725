"""Conditions images as synthkit's methods do, on handwritten digits of the long-tailed training part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from pretraining.tiny_unclip.generate import Request, embed
from synthkit.conditioning import METHODS, Method, draw_kept, drop, mix_pixels

if TYPE_CHECKING:
    from diffusers import StableUnCLIPImg2ImgPipeline
    from numpy.typing import NDArray

    from pretraining.tiny_unclip_digits.scenarios import Pool

DROPOUT = 0.4


def request(name: str, pool: Pool, pipeline: StableUnCLIPImg2ImgPipeline, per_class: int) -> Request:
    """Return images to make by a method; all methods have the same sources, prompts and seeds."""
    base, method = pool.random_image(per_class), METHODS[name]
    first = np.array(pool.random_image_rows(per_class))
    second = np.array(pool.partners(base))
    rng = np.random.default_rng(0)
    if method.sources == 0:
        embeddings = torch.zeros_like(base.embeddings).numpy()
    elif method.pixels is not None:
        embeddings = embed(pipeline, _mixed_pixels(method, pool.images, first, second, rng)).numpy()
    else:
        own, other = (pool.embeddings[rows].numpy() for rows in (first, second))
        embeddings = _mixed_embeddings(method, own, other, rng)
    if method.drops:
        embeddings = np.stack([_dropped(row, rng) for row in embeddings])
    return replace(base, embeddings=torch.from_numpy(embeddings))


def _mixed_pixels(
    method: Method,
    images: NDArray[np.uint8],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    rng: np.random.Generator,
) -> list[Image.Image]:
    assert method.pixels is not None  # noqa: S101
    mixed = []
    for rows in zip(first, second, strict=True):
        own, other = (Image.fromarray(images[row]) for row in rows)
        mixed.append(Image.fromarray(mix_pixels(method.pixels, own, other, alpha=1.0, rng=rng)[0]))
    return mixed


def _mixed_embeddings(
    method: Method, own: NDArray[np.float32], other: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    mix = method.embeddings
    if mix is None:
        return own
    pairs = zip(own, other, strict=True)
    rows = [mix.apply(a, b, mix.draw(a.shape, alpha=1.0, rng=rng)) for a, b in pairs]
    return np.stack(rows).astype(np.float32)


def _dropped(embedding: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    kept = draw_kept(embedding.shape, probability=DROPOUT, drops="coordinates", rng=rng)
    null = np.zeros_like(embedding)
    return drop(embedding, kept, null=null, probability=DROPOUT, rescale=False)
