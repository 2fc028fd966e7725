"""What is retrieved for each image of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.builder.nearest import Retrieved, class_means, retrieve, similarities_to
from synthkit.release.plan import balance, block_counts, numbers_in_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthkit.builder.inputs import Inputs


def nearest_of_pool(
    inputs: Inputs, real_embeddings: NDArray[np.float32], pool_embeddings: NDArray[np.float32]
) -> Retrieved:
    """Return what is retrieved for each planned image; of a preview, what the whole release has.

    The embeddings are (N, D), of all real images and of all images of the pool.
    """
    pool, listing, recipe = inputs.pool, inputs.real.listing, inputs.recipe
    assert pool is not None  # noqa: S101 (for the type checker)
    means = class_means(listing.labels, len(listing.classes), real_embeddings)
    counts = block_counts(recipe, balance(recipe, listing))
    return retrieve(
        similarities_to(means, pool_embeddings),
        pool.images.listing.ids,
        counts[-1],
        inputs.plan.labels,
        numbers_in_class(recipe.seed, counts)[: len(inputs.plan)],
    )
