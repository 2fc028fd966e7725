"""Patchwork: a family of generators that paints an image's colours in patches, each shifted a little.

It has no weights and needs no GPU. What it shows is all that a family must say and do; a family of a
diffusers pipeline says less: it starts from synthkit.generators.diffusers_pipeline.DiffusersGenerator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.generators.base import Generator
from synthkit.generators.checkpoint import Checkpoint
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe

# Patches of an edge.
GRID = 4


class Patchwork(Generator):
    """An embedding is the mean colours of 4x4 patches; a seed shifts each of them."""

    # What is known without loading a model.
    NEEDS_DEVICE: ClassVar[bool] = False
    READS_TEXT: ClassVar[bool] = False
    WEIGHS_IMAGES: ClassVar[bool] = False

    def __init__(self, own_edge: int, sampler: Sampler) -> None:
        self._own_edge = own_edge
        self._edge = sampler.size or own_edge
        self.on_step: Callable[[], None] = lambda: None

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Refuse what the family does not have, by the field's name."""
        if recipe.sampler.noise_level:
            raise GeneratorError("sampler.noise_level: Patchwork adds no noise; set it to 0")
        if recipe.prompt:
            raise GeneratorError('prompt: Patchwork reads no text; set it to ""')

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        """Return the edge of its images in pixels."""
        return int(json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["size"])

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return (48,): three colours of each patch."""
        return (3 * GRID * GRID,)

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        """Return the generator of a model."""
        return cls(cls.image_edge(checkpoint.files["model_index.json"].parent), recipe.sampler)

    def resampled(self, sampler: Sampler) -> Self:
        """Return the same model sampled another way: of the sampler's fields, its images' size counts."""
        return type(self)(self._own_edge, sampler)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(48,): three colours of each patch."""
        return (3 * GRID * GRID,)

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """(48,): grey, which says nothing of an image."""
        return np.full(self.embedding_shape, 0.5, np.float32)

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the (N, 48) mean colours of patches, in [0, 1]."""
        small = [np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX)) for image in images]
        return np.stack([patches.ravel() for patches in small]).astype(np.float32) / np.float32(255)

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Do nothing: it reads no text."""

    def generate(
        self,
        embeddings: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        weights: Sequence[float] | None = None,
    ) -> NDArray[np.uint8]:
        """Return (N, H, W, 3) uint8; each image comes from its own row and seed alone."""
        self.on_step()
        images = []
        for embedding, seed in zip(embeddings, seeds, strict=True):
            shifts = np.random.default_rng(seed).normal(0, 0.05, embedding.shape)
            patches = (embedding + shifts).clip(0, 1).reshape(GRID, GRID, 3)
            painted = Image.fromarray(np.rint(patches * 255).astype(np.uint8))
            images.append(np.asarray(painted.resize((self._edge, self._edge), Image.Resampling.NEAREST)))
        return np.stack(images)
