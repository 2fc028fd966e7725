"""The embeddings f(x) of the real images: computed once, and kept in a file of the work root.

Builds share a file if the same image encoder embeds the same images in the same way, whatever generator it
belongs to: by their contents, not by their names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from synthkit.conditioning import METHODS
from synthkit.generators.base import embed_as_vectors
from synthkit.generators.encoder_content import encoder_content
from synthkit.system.files import write_atomically
from synthkit.system.locks import is_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.builder.inputs import Inputs
    from synthkit.generators.base import Generator
    from synthkit.recipe.schema import Recipe
    from synthkit.release.shards import Origin
    from synthkit.sources.pool import RealImages

# In the work root.
FOLDER = "embeddings"
# For how long a file is kept that no build reads.
_KEPT_S = 30 * 24 * 3600
_SHA256 = 32


def kept_for_mixing(recipe: Recipe, generator: Generator) -> bool:
    """Return whether a recipe's method conditions on embeddings of real images that are vectors.

    Those of tokens are too large to be kept.
    """
    method = METHODS[recipe.conditioning.method]
    return method.embeds and method.pixels is None and len(generator.embedding_shape) == 1


def kept_for_retrieval(recipe: Recipe) -> bool:
    """Return whether a recipe retrieves images by their embeddings."""
    return METHODS[recipe.conditioning.method].retrieves


def needed(recipe: Recipe, generator: Generator) -> bool:
    """Return whether a method conditions on kept embeddings of real images, or a gate compares with them.

    So does retrieval.
    """
    gated = recipe.filters is not None and recipe.filters.compare
    return gated or kept_for_mixing(recipe, generator) or kept_for_retrieval(recipe)


def kept_in(
    root: Path,
    inputs: Inputs,
    images: RealImages,
    generator: Generator,
    origin: Origin,
    positions: NDArray[np.int32],
) -> Path:
    """Return the file that keeps the embeddings of the images at some positions.

    Its name is the SHA-256 of all that decides what is in it. `root` is the work root, `origin` says in which
    environment they are computed: a batch of another size or another library may give other last bits.
    """
    recipe, how = inputs.recipe, generator.how_embedded
    encoder = encoder_content(inputs.checkpoint) if how else ""
    decides = {
        "encoder": encoder,
        # A package's family may have its encoder in a component of another name: then all files count.
        "model": "" if encoder else inputs.checkpoint.revision,
        "how": how,
        "shape": generator.embedding_shape,
        "dtype": recipe.model.dtype,
        "tf32": recipe.arithmetic.tf32,
        "batch_size": recipe.sampler.batch_size,
        "environment": origin.environment,
        "real_images": images.digest,
        "positions": hashlib.sha256(positions.astype("<i4").tobytes()).hexdigest(),
    }
    name = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return root / FOLDER / f"{name[:32]}.npy"


def embed(
    real: RealImages,
    positions: NDArray[np.int32],
    generator: Generator,
    path: Path,
    batch_size: int,
    advance: Callable[[int], None],
) -> NDArray[np.float32]:
    """Return the embeddings of the real images at some positions, from a file if an earlier run left them.

    The result is (N, D) float32, with zeros at all other positions. The file is written if it is not there;
    files beside it go that no build has read for a month. `advance` is told of images embedded now.
    """
    shape = (len(real.listing), generator.embedding_shape[-1])
    kept = read_array(path, shape)
    if kept is not None:
        with suppress(OSError):
            path.touch()
        return kept
    embeddings = compute(real, positions, generator, batch_size, advance)
    write_array(path, embeddings)
    _remove_unread(path.parent)
    return embeddings


def _remove_unread(folder: Path) -> None:
    oldest = time.time() - _KEPT_S
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def remove_half_written(root: Path) -> None:
    """Remove files of embeddings that a kill left half-written; no process is writing them."""
    for leftover in (root / FOLDER).glob(".*.tmp"):
        if is_left(leftover):
            leftover.unlink(missing_ok=True)


def read_array(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Read embeddings that `write_array` kept; return None if they are not there, or not as it wrote them."""
    try:
        with path.open("rb") as stream:
            stated = stream.read(_SHA256)
            if hashlib.file_digest(stream, "sha256").digest() != stated:
                return None
            stream.seek(_SHA256)
            kept: NDArray[np.float32] = np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape else None


def write_array(path: Path, embeddings: NDArray[np.float32]) -> None:
    """Keep embeddings in a file for the next run: the SHA-256 of what follows, and a file of NumPy."""
    buffer = io.BytesIO(bytes(_SHA256))
    buffer.seek(_SHA256)
    np.save(buffer, embeddings, allow_pickle=False)
    with buffer.getbuffer() as content:
        content[:_SHA256] = hashlib.sha256(content[_SHA256:]).digest()
    write_atomically(path, buffer.getvalue())


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
