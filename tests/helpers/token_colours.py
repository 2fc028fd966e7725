"""A family of models for tests that is conditioned on tokens, and needs no torch: they are colours.

A class token is the mean colour of an image, and each patch that of a cell of a grid. An image shows its
tokens as cells of flat colour, brightened by its seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synthkit import generators
from synthkit.conditioning import token_grid
from synthkit.generators.base import Generator
from synthkit.generators.checkpoint import Checkpoint
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe

# A class token and 4x4 patches.
TOKENS = 17
# All of an embedding of no image.
NULL = 0.5


class TokenColours(Generator):
    """Embeddings are (T, 3) in [0, 1]; T is stated in model_index.json."""

    NEEDS_DEVICE: ClassVar[bool] = False
    # As that of flat colours: class names are taken, and change nothing.
    READS_TEXT: ClassVar[bool] = True
    WEIGHS_IMAGES: ClassVar[bool] = True
    # How many images each call had to embed.
    embedded: ClassVar[list[int]] = []

    def __init__(self, folder: Path, batch_size: int) -> None:
        self.on_step: Callable[[], None] = lambda: None
        self._shape = self.embedding_shape_in(folder)
        self._edge = self.image_edge(folder)
        self._batch_size = batch_size

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Accept every recipe."""

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        return 16

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        return int(json.loads((folder / "model_index.json").read_text())["tokens"]), 3

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        return cls(checkpoint.files["model_index.json"].parent, recipe.sampler.batch_size)

    def resampled(self, sampler: Sampler) -> Self:
        return self

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        return np.full(self._shape, NULL, np.float32)

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        assert len(images) <= self._batch_size
        TokenColours.embedded.append(len(images))
        return np.stack([self._tokens(image) for image in images])

    def _tokens(self, image: Image.Image) -> NDArray[np.float32]:
        tokens = self._shape[0]
        edge = int(np.ceil(np.sqrt(tokens - 1)))
        cells = np.asarray(image.resize((edge, edge)), np.float32).reshape(-1, 3) / 255
        return np.concatenate([cells.mean(axis=0, keepdims=True), cells])[:tokens]

    def check_prompts(self, prompts: object) -> None:
        """Accept every prompt: none is read."""

    def generate(
        self,
        embeddings: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        weights: Sequence[float] | None = None,
    ) -> NDArray[np.uint8]:
        self.on_step()
        assert len(embeddings) <= self._batch_size
        if weights is not None:
            shares = np.asarray(weights, np.float32)[:, None, None]
            embeddings = NULL + shares * (embeddings - NULL)
        _, edge = token_grid(self._shape[0])
        cells = embeddings[:, 1:].reshape(-1, edge, edge, 3).clip(0, 1)
        seeded = np.array([seed % 32 for seed in seeds])[:, None, None, None]
        return np.rint(223 * cells + seeded).astype(np.uint8).repeat(16 // edge, 1).repeat(16 // edge, 2)


def token_model(folder: Path, tokens: int = TOKENS) -> Path:
    """Write a model of the family into a folder."""
    folder.mkdir(parents=True)
    text = json.dumps({"_class_name": "TokenColoursPipeline", "tokens": tokens})
    (folder / "model_index.json").write_text(text)
    return folder


@contextmanager
def registered(folder: Path) -> Iterator[None]:
    """Make the family known to this process, and to worker processes by a file in an empty folder."""
    line = f'PIPELINES["TokenColoursPipeline"] = "{__name__}:TokenColours"\n'
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"from synthkit.generators import PIPELINES\n{line}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(generators.PIPELINES, "TokenColoursPipeline", f"{__name__}:TokenColours")
        patch.syspath_prepend(folder)
        yield
