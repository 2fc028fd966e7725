"""Image generators behind one protocol. `locate` finds and identifies a model, `load` readies it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from synthkit.errors import GeneratorError
from synthkit.recipe.schema import AUTO, STOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Arithmetic, Sampler

_FLAT = "FlatColours"


class Generator(Protocol):
    """A frozen model that makes images from image embeddings and prompts.

    Embeddings are (N, D) float32. Every call of the model has the shape of the recipe's batch: what
    is short is padded, so an image depends on its own row and on that shape alone. `on_step` may be
    set: it is called after every denoising step is given to the device, a sign of life.
    """

    on_step: Callable[[], None]

    @property
    def embedding_size(self) -> int:
        """D."""
        ...

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """The (N, D) float32 embeddings of RGB images."""
        ...

    def embed_prompts(self, prompts: Sequence[str]) -> None:
        """Encode prompts once; `generate` encodes those it has not met."""
        ...

    def generate(
        self, embeddings: NDArray[np.float32], prompts: Sequence[str], seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
        """At most a batch of images, (N, H, W, 3) uint8, each from its own row and seed."""
        ...


def load(
    checkpoint: Checkpoint, *, dtype: str, sampler: Sampler, device: str, arithmetic: Arithmetic = STOCK
) -> Generator:
    """The generator of a checkpoint, on a device. Raises GeneratorError if it cannot be had."""
    if sampler.batch_size == AUTO:
        raise GeneratorError("sampler.batch_size: auto is measured by a build; set a number")
    kind = pipeline_class(checkpoint)
    if kind == _FLAT:
        from synthkit.generators.flat import FlatColours

        return FlatColours(checkpoint)
    if kind != "StableUnCLIPImg2ImgPipeline":
        raise GeneratorError(
            f"model {checkpoint.name}: is a {kind}; synthkit needs a StableUnCLIPImg2ImgPipeline"
        )
    from synthkit.generators.unclip import UnclipGenerator, read_pipeline

    pipeline = read_pipeline(checkpoint, dtype=dtype, device=device)
    return UnclipGenerator(pipeline, sampler=sampler, arithmetic=arithmetic)


def check_arithmetic(dtype: str, device: str) -> None:
    """Raise GeneratorError for arithmetic that a device has not got."""
    if dtype == "float16" and device == "cpu":
        raise GeneratorError("model.dtype: float16 needs a GPU; on a CPU use --set model.dtype=float32")


def needs_device(checkpoint: Checkpoint) -> bool:
    """Whether there is a model to run."""
    return pipeline_class(checkpoint) != _FLAT


def pipeline_class(checkpoint: Checkpoint) -> str:
    """The diffusers pipeline that a checkpoint's index names."""
    try:
        index = json.loads((checkpoint.folder / "model_index.json").read_text(encoding="utf-8"))
        return str(index["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        raise GeneratorError(
            f"model {checkpoint.name}: has no readable model_index.json; "
            "it must be a folder in the diffusers layout"
        ) from None


def image_edge(checkpoint: Checkpoint) -> int | None:
    """The edge in pixels of the images a checkpoint makes, from its configuration files alone."""
    try:
        unet = json.loads((checkpoint.folder / "unet" / "config.json").read_text(encoding="utf-8"))
        vae = json.loads((checkpoint.folder / "vae" / "config.json").read_text(encoding="utf-8"))
        upsamplings = len(vae["block_out_channels"]) - 1
        return int(unet["sample_size"]) << upsamplings
    except (OSError, ValueError, KeyError, TypeError):
        return None
