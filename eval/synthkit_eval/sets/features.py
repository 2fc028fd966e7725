"""Feature spaces in which sets of images are compared: images in, vectors out.

* `builtin:tiny-unclip-digits`: f(x), the image encoder of the embedded model; its weights are in the package
* `inception`, `inception:FILE`: InceptionV3 of the original FID, 2048 features; torch-fidelity's weights, or
  a file of them
* `timm:NETWORK`, `timm:NETWORK:FILE`: a timm network without its classifier; weights from the Hub, or from a
  safetensors file
* `clip:REPOSITORY`, `clip:FOLDER`: CLIP's image encoder with its projection, from the Hub, or from a folder

Each family has a module of its own, which `feature_names.FAMILIES` names.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

import numpy as np

from synthkit.errors import ScoreError
from synthkit_eval.feature_names import FAMILIES, FORMS, NONE, check_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray
    from PIL import Image


class Features(Protocol):
    """A feature space."""

    @property
    def name(self) -> str:
        """The name that a score states: the user's, without folders, and exactly which weights."""
        ...

    @property
    def dimensions(self) -> int:
        """The length D of a vector."""
        ...

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the features of N RGB images of any size: (N, D) float32."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """A frozen network as a feature space.

    `prepare` turns B images into (B, 3, H, W) float32, `network` turns those into (B, D). Every batch is
    padded to `batch_size` images, so that an image's features do not depend on how many images a set has.
    """

    name: str
    dimensions: int
    prepare: Callable[[Sequence[Image.Image]], torch.Tensor]
    network: Callable[[torch.Tensor], torch.Tensor]
    device: str
    batch_size: int

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the features of N images: (N, D) float32.

        Raises ScoreError if a batch does not fit into the device's memory.
        """
        size = self.batch_size
        parts = [self._batch(images[at : at + size]) for at in range(0, len(images), size)]
        return np.concatenate([np.zeros((0, self.dimensions), np.float32), *parts])

    def _batch(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        import torch

        padded = [*images, *[images[-1]] * (self.batch_size - len(images))]
        try:
            with torch.inference_mode(), _repeatable():
                found = self.network(self.prepare(padded).to(self.device)).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise ScoreError(
                f"features {self.name}: {self.device} has too little memory for batches of "
                f"{self.batch_size} images; use another device, or a smaller network"
            ) from error
        return np.asarray(found[: len(images)], dtype=np.float32)


def open_features(spec: str, device: str, batch_size: int = 32) -> Features:
    """Load the feature space of that name (see the module's text) onto a device.

    Weights are taken from this machine if it has them, else downloaded. Raises ScoreError if there is no
    such space, or if its weights cannot be had or do not fit.
    """
    check_features(spec)
    if spec == NONE:
        raise ScoreError(f"features {spec}: is not a feature space; use one of {', '.join(FORMS)}")
    kind, _, rest = spec.partition(":")
    opened: Features = resolve_name(FAMILIES[kind].opener)(spec, rest, device, batch_size)
    return opened


@contextmanager
def _repeatable() -> Iterator[None]:
    """Compute at full precision and the same in every run, whatever the training has set for GPUs."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
