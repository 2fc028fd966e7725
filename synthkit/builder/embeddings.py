"""The embeddings f(x) of the real images: computed once per build, and kept in a file for the next run."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.generators.base import embed_as_vectors
from synthkit.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.base import Generator
    from synthkit.recipe.schema import Recipe
    from synthkit.sources.pool import RealImages


def kept_for_mixing(recipe: Recipe, generator: Generator) -> bool:
    """Return whether a recipe's method conditions on embeddings of real images that are vectors.

    Those of tokens are too large to be kept.
    """
    method = METHODS[recipe.conditioning.method]
    return method.sources > 0 and method.pixels is None and len(generator.embedding_shape) == 1


def needed(recipe: Recipe, generator: Generator) -> bool:
    """Return whether a method conditions on kept embeddings of real images, or a gate compares with them."""
    gated = recipe.filters is not None and recipe.filters.compare
    return gated or kept_for_mixing(recipe, generator)


def embed(
    real: RealImages,
    positions: NDArray[np.int32],
    generator: Generator,
    path: Path,
    batch_size: int,
    advance: Callable[[int], None],
) -> NDArray[np.float32]:
    """Return the embeddings of the real images at some positions, from a file if an earlier run left them.

    The result is (N, D) float32, with zeros at all other positions. The file lies beside `path`, under a name
    that depends on the positions; it is written if it is not there. `advance` is told of images embedded now.
    """
    path = _path_for(positions, path)
    shape = (len(real.listing), generator.embedding_shape[-1])
    kept = read_array(path, shape)
    if kept is not None:
        return kept
    embeddings = compute(real, positions, generator, batch_size, advance)
    write_array(path, embeddings)
    return embeddings


def read_array(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Read embeddings that `write_array` kept; return None if they are not there, or are of another shape."""
    try:
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape else None


def write_array(path: Path, embeddings: NDArray[np.float32]) -> None:
    """Keep embeddings in a file for the next run."""
    buffer = io.BytesIO()
    np.save(buffer, embeddings, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


def _path_for(positions: NDArray[np.int32], path: Path) -> Path:
    """Return the file for these very positions; a file holds zeros at all others."""
    asked = hashlib.sha256(positions.astype("<i4").tobytes()).hexdigest()
    return path.with_stem(f"{path.stem}-{asked[:12]}")


def compute(
    real: RealImages,
    positions: NDArray[np.int32],
    generator: Generator,
    batch_size: int,
    advance: Callable[[int], None],
) -> NDArray[np.float32]:
    """Compute the embeddings of the real images at some positions.

    The result is (N, D) float32, with zeros at all other positions. While the model embeds a batch, threads
    read the next one, and no image beyond it.
    """
    embeddings = np.zeros((len(real.listing), generator.embedding_shape[-1]), dtype=np.float32)
    images = _read_ahead(real, positions.tolist(), batch_size)
    for start in range(0, len(positions), batch_size):
        batch = positions[start : start + batch_size]
        embeddings[batch] = embed_as_vectors(generator, [next(images) for _ in batch])
        advance(len(batch))
    return embeddings


def _read_ahead(real: RealImages, positions: Sequence[int], ahead: int) -> Iterator[Image.Image]:
    """Yield the images at some positions, in that order, and read up to `ahead` of them in advance."""
    waiting: deque[Future[Image.Image]] = deque()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for position in positions:
            waiting.append(pool.submit(real.load, position))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # After an error nobody waits for the rest.
        pool.shutdown(cancel_futures=True)
