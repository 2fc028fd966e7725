"""No model at all: every image is one colour. For rehearsing a large build before it costs anything.

Everything else is as it will be: real images are read and mixed, shards written, releases finished.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint

# The mean colour of each quarter of an image.
_GRID = 2
_SHARE = 0.75


class FlatColours:
    """Three quarters of the colour come from the embedding, one quarter from the seed."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        index = json.loads((checkpoint.folder / "model_index.json").read_text(encoding="utf-8"))
        self._edge = int(index["size"])
        self.on_step: Callable[[], None] = lambda: None

    @property
    def embedding_size(self) -> int:
        """Three colours of each quarter."""
        return 3 * _GRID * _GRID

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(N, 12) float32 in [0, 1]: mean colours."""
        small = [np.asarray(image.resize((_GRID, _GRID)), dtype=np.float32).ravel() for image in images]
        return np.stack(small) / np.float32(255)

    def embed_prompts(self, prompts: Sequence[str]) -> None:
        """Nothing: prompts change no colour."""

    def generate(
        self, embeddings: NDArray[np.float32], prompts: Sequence[str], seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8."""
        self.on_step()
        drawn = np.array([[seed & 255, seed >> 8 & 255, seed >> 16 & 255] for seed in seeds])
        colours = _SHARE * 255 * embeddings[:, :3].clip(0, 1) + (1 - _SHARE) * drawn
        flat = np.rint(colours).astype(np.uint8)[:, None, None]
        return np.broadcast_to(flat, (len(seeds), self._edge, self._edge, 3))
