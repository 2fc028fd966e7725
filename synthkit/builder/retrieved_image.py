"""Images that are retrieved: real ones of the pool, resized and cropped, each with its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ImageOps
from PIL.Image import Resampling

from synthkit.builder.image import Draw, ImageMaker, Mixed
from synthkit.conditioning import Mixing
from synthkit.errors import GeneratorError
from synthkit.generators import image_edge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.builder.nearest import Pick
    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Recipe
    from synthkit.release.plan import PlannedImage
    from synthkit.release.records import Provenance
    from synthkit.sources.pool import RealImages


@dataclass(frozen=True, kw_only=True)
class RetrievedMaker(ImageMaker):
    """Makes the images of a release by reading them from a pool; the model embeds, and generates nothing.

    `pick` returns what is retrieved for the planned image with an index.
    """

    pool: RealImages
    pick: Callable[[int], Pick]

    def mix(self, draw: Draw) -> Mixed:
        """Read the image of the pool that is retrieved for a draw; nothing is mixed."""
        return Mixed(Mixing(), images=(self.pool.load(self.pick(draw.row.index).position),))

    def generate(self, draws: Sequence[Draw], mixed: Sequence[Mixed]) -> NDArray[np.uint8]:
        """Return the retrieved images as squares, (N, H, W, 3) uint8."""
        self.generator.on_step()
        edge = edge_of(self.recipe, self.checkpoint)
        return np.stack([square(item.images[0], edge) for item in mixed])

    def is_of(self, record: Provenance, row: PlannedImage) -> bool:
        """Return whether a record is that of a planned image, and of what is retrieved for it."""
        told = self._beside_scores(Draw(row))
        return super().is_of(record, row) and all(getattr(record, name, None) == told[name] for name in told)

    def _beside_scores(self, draw: Draw) -> dict[str, Any]:
        position, similarity = self.pick(draw.row.index)
        (image,) = self.pool.named([position])
        return {"retrieved_id": image.id, "retrieved_sha256": image.sha256, "similarity": similarity}


def edge_of(recipe: Recipe, checkpoint: Checkpoint) -> int:
    """Return the edge of retrieved images: that of the output, else that of the images that the model makes.

    Raises GeneratorError if neither is known.
    """
    edge = recipe.output.size or image_edge(checkpoint, recipe.sampler)
    if edge is None:
        raise GeneratorError(
            "output.size: is missing, and the model does not say how large its images are; set it"
        )
    return edge


def square(image: Image.Image, edge: int) -> NDArray[np.uint8]:
    """Return the largest centred square of an RGB image, resized to (edge, edge, 3)."""
    return np.asarray(ImageOps.fit(image, (edge, edge), Resampling.LANCZOS), dtype=np.uint8)
