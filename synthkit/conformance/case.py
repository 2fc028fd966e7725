"""What a family is checked with: a model of it, and a batch of images, prompts and seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit import generators
from synthkit.errors import SynthkitError
from synthkit.generators.starting import Start
from synthkit.levels import start_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.base import Generator
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe

# A row with a neighbour on each side.
LEAST = 3


class ConformanceError(SynthkitError):
    """A family does not keep what every family must keep; the message names the check."""


@dataclass(frozen=True)
class Rows:
    """What a batch of images is made of, row by row: (N, …) float32 embeddings, N prompts, seeds, weights.

    `weights` are None for families whose images cannot be weighed, and for the model's own weight; `starts`
    are None for images that begin from noise alone, `labels` where no classifier guides.
    """

    embeddings: NDArray[np.float32]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    starts: tuple[Start, ...] | None = None
    labels: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.seeds)

    def at(self, rows: Sequence[int]) -> Rows:
        """Return some rows, in this order."""
        return Rows(
            self.embeddings[list(rows)],
            tuple(self.prompts[row] for row in rows),
            tuple(self.seeds[row] for row in rows),
            self.weights and tuple(self.weights[row] for row in rows),
            self.starts and tuple(self.starts[row] for row in rows),
            self.labels and tuple(self.labels[row] for row in rows),
        )

    def but(self, row: int, others: Rows) -> Rows:
        """Return these rows, except that all but one are taken from others."""
        taken = [len(self) + number for number in range(len(self))]
        taken[row] = row
        return self.joined(others).at(taken)

    def joined(self, others: Rows) -> Rows:
        """Return these rows and others after them."""
        weights = None if self.weights is None or others.weights is None else self.weights + others.weights
        starts = None if self.starts is None or others.starts is None else self.starts + others.starts
        labels = None if self.labels is None or others.labels is None else self.labels + others.labels
        return Rows(
            np.concatenate([self.embeddings, others.embeddings]),
            self.prompts + others.prompts,
            self.seeds + others.seeds,
            weights,
            starts,
            labels,
        )


class Case:
    """A model of a family, loaded, with a full batch of different rows."""

    def __init__(
        self, checkpoint: Checkpoint, recipe: Recipe, images: Sequence[Image.Image], device: str = "cpu"
    ) -> None:
        """Load the model of a recipe, which says the size of a batch and how it is sampled.

        `images` are RGB, as many as a batch has or more, all different. Raises GeneratorError if the model
        cannot be loaded, and ConformanceError for a batch that shows nothing.
        """
        self.checkpoint, self.recipe, self.device = checkpoint, recipe, device
        self.size = int(recipe.sampler.batch_size)
        if self.size < LEAST or len(images) < self.size:
            raise ConformanceError(f"a case needs a batch of {LEAST} images or more, and so many images")
        self.images = list(images[: self.size])
        self.generator = self.load()

    def load(self, dtype: str = "float32") -> Generator:
        """Return the model once more, in a type of numbers."""
        model = self.recipe.model.model_copy(update={"dtype": dtype})
        return generators.load(self.checkpoint, self.recipe.model_copy(update={"model": model}), self.device)

    @cached_property
    def rows(self) -> Rows:
        """A batch: each row's image, prompt and seed are its own."""
        return Rows(
            self.generator.embed_images(self.images),
            tuple(f"a photo of {number}" for number in range(self.size)),
            tuple(range(100, 100 + self.size)),
        )

    @cached_property
    def others(self) -> Rows:
        """Rows of which nothing is that of `rows` at the same place."""
        return Rows(
            np.roll(self.rows.embeddings, 1, axis=0),
            tuple(f"a drawing of {number}" for number in range(self.size)),
            tuple(seed + self.size for seed in self.rows.seeds),
        )

    @cached_property
    def whole(self) -> NDArray[np.uint8]:
        """The images of `rows`."""
        return self.make(self.rows)

    def make(self, rows: Rows, generator: Generator | None = None) -> NDArray[np.uint8]:
        """Return the images of some rows."""
        made = generator or self.generator
        weights = None if rows.weights is None else list(rows.weights)
        # Families that have neither need not take them.
        more: dict[str, Any] = {} if rows.starts is None else {"starts": rows.starts}
        if rows.labels is not None:
            more["labels"] = list(rows.labels)
        return made.generate(rows.embeddings, list(rows.prompts), list(rows.seeds), weights, **more)

    def weighed(self, rows: Rows, weights: Sequence[float]) -> Rows:
        """Return the same rows with weights of their images."""
        return replace(rows, weights=tuple(weights))

    def begun(self, rows: Rows, strengths: Sequence[float], first: int = 0) -> Rows:
        """Return the same rows with strengths, begun from the case's images, counted from one of them on."""
        edge = self.generator.edge
        pixels = [start_pixels(self.images[(first + row) % self.size], edge) for row in range(len(rows))]
        return replace(rows, starts=tuple(map(Start, pixels, strengths)))

    def require(self, kept: bool, what: str) -> None:
        """Raise ConformanceError unless something is kept."""
        if not kept:
            raise self.error(what)

    def error(self, what: str) -> ConformanceError:
        """Return the error that names the family."""
        return ConformanceError(f"{type(self.generator).__name__}: {what}")


def same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    """Return whether two arrays have the same bytes."""
    return first.shape == second.shape and first.tobytes() == second.tobytes()
