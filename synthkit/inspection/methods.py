"""Images of a recipe by other methods: what a build would make from the same real images and seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from synthkit.builder.embeddings import compute
from synthkit.builder.guiding import Settled, guide
from synthkit.builder.image import Draw, ImageMaker
from synthkit.builder.inputs import read_inputs
from synthkit.conditioning import METHODS
from synthkit.errors import RecipeError
from synthkit.generators import check_recipe, choose_device_for, load
from synthkit.recipe.captions import caption_fault
from synthkit.recipe.conditioning import Conditioning
from synthkit.release.plan import PlannedImage
from synthkit.release.prompts import Prompts
from synthkit.release.records import key_of
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from synthkit.recipe.schema import Recipe

# That of methods that begin from a real image, where a recipe has none.
_STRENGTH = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to make: by a conditioning, of a class, from real images (positions) and a seed."""

    conditioning: Conditioning
    row: PlannedImage


class MethodImages:
    """Makes images of a recipe by any method that its model takes. Creating it loads all that this takes.

    `index` is the planned image that pictures begin with. Raises RecipeError if there is no such image, and
    another SynthkitError that says what to do if the real images, the model or the device are not here.
    """

    def __init__(self, recipe: Recipe, index: int, work_root: Path, device: str) -> None:
        if METHODS[recipe.conditioning.method].retrieves:
            raise RecipeError(
                "conditioning.method: retrieval makes no images to draw; give a recipe that generates its "
                "images"
            )
        self.inputs, self.index = read_inputs(recipe, work_root, device=device), index
        planned = len(self.inputs.plan)
        if index >= planned:
            raise RecipeError(f"--key {index}: the keys of the recipe's images are 0 to {planned - 1}")
        recipe, checkpoint = self.inputs.recipe, self.inputs.checkpoint
        device = choose_device_for(checkpoint, recipe.model.dtype, device)
        self._generator = load(checkpoint, recipe, device)
        classes = len(self.inputs.real.listing.classes)
        guide(self._generator, Settled(recipe, self.inputs.classifier), classes, device)
        self.recipe = recipe

    def conditioning(self, method: str, dropout: float | None = None) -> Conditioning:
        """Return the recipe's conditioning by another method, and with another dropout if one is given.

        Raises RecipeError or GeneratorError if the recipe or its model cannot be conditioned so.
        """
        if METHODS[method].learns:
            raise RecipeError(
                f"conditioning.method: {method} needs tokens that are learned for it; build a recipe by it"
            )
        own = self.recipe.conditioning
        strength = (own.strength or _STRENGTH) if METHODS[method].starts else None
        changed = {
            "method": method,
            "dropout": own.dropout if dropout is None else dropout,
            "strength": strength,
        }
        try:
            found = Conditioning.model_validate({**own.model_dump(), **changed})
        except ValidationError as error:
            raise RecipeError(
                f"conditioning.{error.errors()[0]['msg'].removeprefix('Value error, ')}"
            ) from None
        if fault := self._caption_fault(method):
            raise RecipeError(f"captions: {fault}")
        check_recipe(self.inputs.checkpoint, self.recipe.model_copy(update={"conditioning": found}))
        return found

    def _caption_fault(self, method: str) -> str:
        recipe = self.recipe
        # With the inputs, a file of prompts was read.
        prompts = None if isinstance(recipe.prompts, str) else recipe.prompts
        return caption_fault(recipe.prompt, prompts, recipe.captions, method)

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """The shape of the model's embeddings."""
        return self._generator.embedding_shape

    @property
    def labels(self) -> list[int]:
        """The classes of which the release has images."""
        found: list[int] = np.unique(self.inputs.plan.labels).tolist()
        return found

    def wanted(self, conditioning: Conditioning, pair_of: int, seed_of: int) -> Wanted:
        """Return an image from the real images of one planned image with the seed of another of its class."""
        plan, count = self.inputs.plan, METHODS[conditioning.method].sources
        sources = tuple(int(position) for position in plan.pairs[pair_of, :count])
        planned = plan.row(pair_of)
        row = PlannedImage(seed_of, planned.label, sources, int(plan.seeds[seed_of]), planned.level)
        return Wanted(conditioning, row)

    def planned_of_class(self, label: int, count: int) -> list[int]:
        """Return the indices of the first planned images of a class, at most so many."""
        found: list[int] = np.flatnonzero(self.inputs.plan.labels == label)[:count].tolist()
        return found

    def real(self, position: int) -> Image.Image:
        """Return the real image at a position of the listing."""
        return self.inputs.real.load(position)

    def make(self, wanted: Sequence[Wanted], advance: Callable[[int], None]) -> Iterator[Image.Image]:
        """Yield images as a release has them, in order; those of all methods share the batches.

        `advance` is told of images. Raises GeneratorError if a prompt is too long for the model.
        """
        maker = self._maker(wanted)
        self._generator.check_prompts(maker.prompt(Draw(item.row)) for item in wanted)
        size = self.recipe.sampler.batch_size
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            yield from self._batch(batch, maker)
            advance(len(batch))

    def _batch(self, batch: Sequence[Wanted], maker: ImageMaker) -> Iterator[Image.Image]:
        """Yield the images of a batch. Each depends on its own row and on the batch's shape alone."""
        draws, mixings, conditions, starts = [], [], [], []
        for conditioning, items in groupby(batch, key=lambda item: item.conditioning):
            own, some = _by(maker, conditioning), [Draw(item.row) for item in items]
            mixed = [own.mix(draw) for draw in some]
            conditions.append(own.conditions(some, mixed))
            draws += some
            mixings += [item.mixing for item in mixed]
            starts += [item.start for item in mixed]
        images = maker.generate_from(np.concatenate(conditions), draws, starts)
        for item, draw, mixing, pixels in zip(batch, draws, mixings, images, strict=True):
            _, file = _by(maker, item.conditioning).finish(draw, mixing, pixels)
            yield decode(file, key_of(draw.row.index))

    def _maker(self, wanted: Sequence[Wanted]) -> ImageMaker:
        """Return the build's maker of images, with the embeddings of the real images that it needs.

        It signs none, which changes no pixel.
        """
        inputs, generator = self.inputs, self._generator
        embeddings = None
        if len(generator.embedding_shape) == 1:
            used = sorted({position for item in wanted for position in item.row.sources})
            positions, size = np.array(used, dtype=np.int32), self.recipe.sampler.batch_size
            embeddings = compute(inputs.real, positions, generator, size, lambda count: None)
        return ImageMaker(
            self.recipe,
            inputs.generation_digest,
            self._prompts(),
            inputs.real,
            inputs.checkpoint,
            generator,
            embeddings,
            self.recipe.format_version,
        )

    def _prompts(self) -> Prompts:
        """Return the recipe's prompts, with the names of classes where it has learned tokens."""
        if self.recipe.tokens is None:
            return self.inputs.prompts
        by_name = self.recipe.model_copy(update={"tokens": None})
        return Prompts(by_name, self.inputs.real.listing.classes)


def _by(maker: ImageMaker, conditioning: Conditioning) -> ImageMaker:
    """Return the maker for another conditioning, of which records may tell something else."""
    recipe = maker.recipe.model_copy(update={"conditioning": conditioning})
    return replace(maker, recipe=recipe, form=recipe.format_version)
