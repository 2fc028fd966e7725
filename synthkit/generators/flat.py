"""A generator without a model: every image is one colour. It rehearses a large build at no cost.

All else is as in a real build: real images are read and mixed, shards are written, a release is finished.
"""

from __future__ import annotations

import json
from copy import copy
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.base import Generator
from synthkit.levels import start_pixels
from synthkit.recipe.sampler import STEP_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.generators.lesson import Lesson
    from synthkit.generators.starting import Start
    from synthkit.recipe.sampler import Sampler
    from synthkit.recipe.schema import Recipe

# An embedding is the mean colour of each cell of a grid of 2x2.
_GRID = 2
_SHAPE = (3 * _GRID * _GRID,)
# Of an image's colour, how much its embedding decides; its seed decides the rest.
_SHARE = 0.75


class FlatColours(Generator):
    """Three quarters of the colour come from the embedding, one quarter from the seed."""

    NEEDS_DEVICE: ClassVar[bool] = False
    READS_TEXT: ClassVar[bool] = True
    WEIGHS_IMAGES: ClassVar[bool] = False
    STARTS_FROM_IMAGES: ClassVar[bool] = True
    LEARNS_TOKENS: ClassVar[bool] = True
    # Without an image that a step predicts, there is none to show to a classifier.
    SAMPLES_BY: ClassVar[tuple[str, ...]] = tuple(name for name in STEP_FIELDS if name != "feedback")

    def __init__(self, own: int, sampler: Sampler) -> None:
        self._own = own
        self._edge = sampler.size or own
        self.on_step: Callable[[], None] = lambda: None
        # The colour of each word, 0 to 1.
        self._words: dict[str, NDArray[np.float32]] = {}

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Accept every recipe that SAMPLES_BY no other field: those for any model can be rehearsed."""

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        """Return the `size` in the model_index.json of a folder."""
        return int(json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["size"])

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return (12,): three colours of each cell."""
        return _SHAPE

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        """Return the generator of a checkpoint; of the recipe it reads `sampler.size` alone.

        Raises GeneratorError if model_index.json does not say how large its images are.
        """
        try:
            own = cls.image_edge(checkpoint.files["model_index.json"].parent)
        except (KeyError, TypeError, ValueError):
            raise GeneratorError(
                f"model {checkpoint.name}: its model_index.json needs a size, the edge of images in pixels"
            ) from None
        return cls(own, recipe.sampler)

    def resampled(self, sampler: Sampler) -> Self:
        """Return a generator of images of another size; nothing is sampled."""
        other = copy(self)
        other._edge = sampler.size or self._own
        return other

    @property
    def edge(self) -> int:
        """The edge in pixels of its images."""
        return self._edge

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """(12,): three colours of each cell."""
        return _SHAPE

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """(12,) zeros: black."""
        return np.zeros(_SHAPE, np.float32)

    def learn_token(self, lesson: Lesson) -> NDArray[np.float32]:
        """Return (V, 3): the mean colour, 0 to 1, of as many drawn images as the lesson has steps."""
        rng, sum_of_colours = np.random.default_rng(lesson.seed), np.zeros(3)
        for _ in range(lesson.tokens.steps):
            image = lesson.load(int(rng.integers(lesson.images)))
            sum_of_colours += start_pixels(image, self._edge).mean(axis=(0, 1)) / 255
            lesson.on_step()
        mean = (sum_of_colours / lesson.tokens.steps).astype(np.float32)
        return np.tile(mean, (lesson.tokens.vectors, 1))

    def use_tokens(self, tokens: Mapping[str, NDArray[np.float32]]) -> None:
        """Let images whose prompt has a word have its colour in place of their embedding's."""
        self._words |= {word: vectors.mean(axis=0) for word, vectors in tokens.items()}

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return (N, 12) float32 in [0, 1]: mean colours."""
        small = [np.asarray(image.resize((_GRID, _GRID)), dtype=np.float32).ravel() for image in images]
        return np.stack(small) / np.float32(255)

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Accept every prompt: none changes a colour."""

    def generate(
        self,
        embeddings: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        weights: Sequence[float] | None = None,
        starts: Sequence[Start | None] | None = None,
        labels: Sequence[int] | None = None,
    ) -> NDArray[np.uint8]:
        """Return (N, H, W, 3) uint8.

        What an image begins from decides 1 - strength of its colour.
        """
        self.on_step()
        drawn = np.array([[seed & 255, seed >> 8 & 255, seed >> 16 & 255] for seed in seeds])
        told = embeddings[:, :3].clip(0, 1)
        for row, prompt in enumerate(prompts if self._words else ()):
            told[row] = next((colour for word, colour in self._words.items() if word in prompt), told[row])
        colours = _SHARE * 255 * told + (1 - _SHARE) * drawn
        for row, start in enumerate(starts or ()):
            if start is not None:
                mean = start.pixels.mean(axis=(0, 1))
                colours[row] = (1 - start.strength) * mean + start.strength * colours[row]
        flat = np.rint(colours).astype(np.uint8)[:, None, None]
        return np.broadcast_to(flat, (len(seeds), self._edge, self._edge, 3))
