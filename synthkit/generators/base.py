"""The protocol of all generators, and what they share: checks of a recipe and the error of a full device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from synthkit.conditioning import METHODS
from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.generators.guide import Guide
    from synthkit.generators.lesson import Lesson
    from synthkit.generators.starting import Start
    from synthkit.recipe.sampler import Cache, Sampler
    from synthkit.recipe.schema import Recipe


class OutOfMemory(GeneratorError):
    """A batch is too large for the device."""


class Generator(Protocol):
    """A frozen model that makes images from image embeddings and prompts.

    A class is a family of models; what it says of itself is known without loading one. Embeddings are
    float32, each of `embedding_shape`. Every call of the model has the shape of the recipe's batch: shorter
    batches are padded, so an image depends on its own row and on that shape alone. `on_step` may be set: it
    is called after every denoising step is given to the device, as a sign of life.
    """

    # Whether a CPU or a GPU runs the model: False where there is nothing to run.
    NEEDS_DEVICE: ClassVar[bool]
    # The pieces that a model of the family must have beside its base, and those that it may have: of
    # "adapter", "encoder", "unet" (recipe/model.py).
    NEEDS: ClassVar[tuple[str, ...]] = ()
    MAY_HAVE: ClassVar[tuple[str, ...]] = ()
    # Whether a prompt changes its images.
    READS_TEXT: ClassVar[bool]
    # Whether the weight of the image against the text can be set, image by image.
    WEIGHS_IMAGES: ClassVar[bool]
    # Whether images can begin from real ones, noised at a strength, instead of from noise alone.
    STARTS_FROM_IMAGES: ClassVar[bool] = False
    # Whether a token can be learned from images and stand in prompts.
    LEARNS_TOKENS: ClassVar[bool] = False
    # Which of STEP_FIELDS in recipe/sampler.py it samples by; a recipe that sets another one is refused.
    SAMPLES_BY: ClassVar[tuple[str, ...]] = ()

    on_step: Callable[[], None]

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Raise GeneratorError, with the name of the field, for a setting that the family does not have."""
        ...

    @classmethod
    def check_files(cls, folder: Path) -> None:
        """Raise GeneratorError, with the name of the field, if the pieces of a model do not fit each other.

        Nothing is loaded. The folder has all files of the model, and no other, as all folders here do.
        """

    @classmethod
    def check_size(cls, folder: Path, size: int) -> None:
        """Raise GeneratorError, with the name of the field, for a `sampler.size` that a model cannot make."""

    @classmethod
    def evaluates_halves(cls, folder: Path) -> bool:
        """Return whether guidance evaluates a model with the conditioning and without, by its files.

        Read and raised as by `image_edge`.
        """
        return True

    @classmethod
    def check_cache(cls, folder: Path, cache: Cache) -> None:
        """Raise GeneratorError, with the name of the field, for a `sampler.cache` that a model cannot have.

        Read as by `image_edge`.
        """

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        """Return the edge in pixels of the images that the model in a folder makes by itself.

        Read from its configuration files. Raises OSError, KeyError, TypeError or ValueError if they do not
        say it.
        """
        ...

    @classmethod
    def embedding_shape_in(cls, folder: Path) -> tuple[int, ...]:
        """Return the shape of an embedding of the model in a folder: (D,), or (T, D) of T tokens.

        Read and raised as by `image_edge`.
        """
        ...

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        """Return the generator of a checkpoint on a device, set as a recipe says.

        Raises GeneratorError if it cannot be loaded, or cannot compute so on this device.
        """
        ...

    def resampled(self, sampler: Sampler) -> Self:
        """Return the same model sampled another way. Both share the weights: use one at a time."""
        ...

    @property
    def edge(self) -> int:
        """The edge in pixels of its images; families that STARTS_FROM_IMAGES are asked for it."""
        raise NotImplementedError

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        """The shape of an image embedding: (D,), or (T, D) of T tokens."""
        ...

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """The embedding that stands for no image: with it, the prompt alone conditions."""
        ...

    @property
    def how_embedded(self) -> Mapping[str, object]:
        """What decides an embedding besides the image encoder's files: what of its output, of which pixels.

        Families that embed alike say the same, and share the embeddings of real images. Empty if no other
        model embeds so. The values become JSON.
        """
        return {}

    def learn_token(self, lesson: Lesson) -> NDArray[np.float32]:
        """Return the float32 vectors (V, D) of a token; families that LEARNS_TOKENS are asked for it.

        The model is loaded for it alone, in float32 and with batches of the lesson's size.
        """
        raise NotImplementedError

    def use_tokens(self, tokens: Mapping[str, NDArray[np.float32]]) -> None:
        """Let prompts have words that stand for learned vectors (V, D); see `learn_token`."""
        raise NotImplementedError

    def use_guide(self, guide: Guide) -> None:
        """Be guided by a classifier from now on; families that sample by `feedback` are told of one."""
        raise NotImplementedError

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the float32 embeddings of RGB images, N of `embedding_shape`."""
        ...

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Raise GeneratorError for a prompt that is longer than the model reads.

        Memory does not grow with the number of prompts.
        """
        ...

    def generate(
        self,
        embeddings: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        weights: Sequence[float] | None = None,
        starts: Sequence[Start | None] | None = None,
        labels: Sequence[int] | None = None,
    ) -> NDArray[np.uint8]:
        """Return at most a batch of images, (N, H, W, 3) uint8, each from its own row and seed.

        `weights` are those of the images against the text, for families of which that can be set; None for
        the model's own. `starts` are what images begin from, for families that STARTS_FROM_IMAGES; None for
        noise alone. `labels` are the classes, for families that sample by `feedback`, where it is asked for.
        A family that has none of these is never given them.
        """
        ...


def as_vectors(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return embeddings as (N, D), by which images are compared: of tokens, (N, T, D), the mean."""
    return embeddings if embeddings.ndim == 2 else embeddings.mean(axis=1)


def embed_as_vectors(generator: Generator, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Return the (N, D) float32 embeddings of RGB images, by which they are compared."""
    return as_vectors(generator.embed_images(images))


def check_without_text(recipe: Recipe) -> None:
    """Raise GeneratorError for a recipe that counts on text, of a model that reads none."""
    method = recipe.conditioning.method
    if METHODS[method].retrieves:
        return  # Nothing is generated, so that nothing counts on it.
    if not METHODS[method].embeds:
        raise GeneratorError(
            f"conditioning.method: {method} is for models that read text, and this one does not; "
            "use one with embeddings of real images, such as random-image"
        )
    if METHODS[method].drops and recipe.conditioning.dropout == 1:
        raise GeneratorError(
            "conditioning.dropout: is 1, which leaves the class name alone, and this model reads no text; "
            "set it below 1"
        )
    for field in ("prompts", "captions"):
        if getattr(recipe, field) is not None:
            raise GeneratorError(f"{field}: this model reads no text; remove {field}")
    if recipe.prompt:
        raise GeneratorError(
            'prompt: this model reads no text, so class names cannot reach it; set prompt: ""'
        )


def check_dtype(dtype: str, device: str) -> None:
    """Raise GeneratorError if a device cannot compute in a recipe's `model.dtype`."""
    if dtype == "float16" and device == "cpu":
        raise GeneratorError("model.dtype: float16 needs a GPU; on a CPU use --set model.dtype=float32")


def component_config(folder: Path, component: str) -> Any:
    """Return the configuration of a component of a diffusers pipeline: the JSON of its config.json."""
    try:
        return json.loads((folder / component / "config.json").read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{component}/config.json is nested too deeply") from None
