"""Generates images for the measurements with the stock pipeline, each from its own seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synthkit.sources.digits import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import StableUnCLIPImg2ImgPipeline
    from numpy.typing import NDArray
    from PIL import Image

BATCH = 32
STEPS = 25


@dataclass(frozen=True)
class Request:
    """Images to make: one per row of `embeddings` (N, E), with as many prompted classes and seeds."""

    embeddings: Tensor
    labels: Sequence[int]
    seeds: Sequence[int]
    guidance: float = 2.0
    template: str = "{}"
    numerals: bool = False

    def prompts(self) -> list[str]:
        """Return the prompt of each image."""
        names = [str(label) if self.numerals else CLASSES[label] for label in self.labels]
        return [self.template.format(name) for name in names]


def generate(pipeline: StableUnCLIPImg2ImgPipeline, request: Request) -> NDArray[np.uint8]:
    """(N, 32, 32, 3) uint8: PNDM, 25 steps, noise level 0, batches of 32, one CPU generator per image."""
    prompts = request.prompts()
    batches = []
    for start in range(0, len(prompts), BATCH):
        span = slice(start, start + BATCH)
        images = pipeline(
            prompt=prompts[span],
            image_embeds=request.embeddings[span].to(pipeline.unet.dtype),
            generator=[torch.Generator().manual_seed(seed) for seed in request.seeds[span]],
            guidance_scale=request.guidance,
            num_inference_steps=STEPS,
            noise_level=0,
            output_type="np",
        ).images
        batches.append(np.rint(images * 255).astype(np.uint8))
    return np.concatenate(batches)


@torch.no_grad()
def embed(pipeline: StableUnCLIPImg2ImgPipeline, images: Sequence[Image.Image]) -> Tensor:
    """Return the embeddings (N, E) of PIL images through the pipeline's own feature extractor and tower."""
    pixels = pipeline.feature_extractor(images=list(images), return_tensors="pt").pixel_values
    embeddings: Tensor = pipeline.image_encoder(pixels.to(pipeline.image_encoder.dtype)).image_embeds
    return embeddings
