"""A diffusers pipeline before it is loaded: what its files say, what may be asked of it; and loading it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from synthkit.errors import GeneratorError, one_line
from synthkit.generators.advice import silence_libraries
from synthkit.generators.base import Generator, check_dtype, component_config
from synthkit.generators.model_files import left_out, linked, read_index_of
from synthkit.generators.schedulers import DETERMINISTIC
from synthkit.generators.step_cache import check_cache
from synthkit.recipe.arithmetic import STOCK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.arithmetic import Arithmetic
    from synthkit.recipe.sampler import Cache, Sampler
    from synthkit.recipe.schema import Recipe


class DiffusersCheckpoint(Generator):
    """What is known of a diffusers pipeline from its files, and how they become a generator.

    A subclass is a family: it changes what is other than here.
    """

    NEEDS_DEVICE: ClassVar[bool] = True
    READS_TEXT: ClassVar[bool] = True
    WEIGHS_IMAGES: ClassVar[bool] = False
    # The pipeline's components that `arithmetic` is about: the network that predicts the noise (compiled,
    # channels last, its attention chosen), and the one that turns latents into pixels.
    DENOISER: ClassVar[str] = "unet"
    DECODER: ClassVar[str] = "vae"
    # What of the image encoder's output an embedding is, as the encoder calls it, and the pipeline's
    # component that prepares images for it. Families that take the same share embeddings; without, none.
    EMBEDS: ClassVar[str] = ""
    PROCESSOR: ClassVar[str] = "feature_extractor"
    # What `sampler.scheduler` may be.
    SCHEDULERS: ClassVar[tuple[str, ...]] = DETERMINISTIC
    # Fields of `sampler` that the family cannot vary, each with the one value that is true of it.
    FIXED: ClassVar[Mapping[str, object]] = {}

    @abstractmethod
    def __init__(self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK) -> None:
        """Take over a pipeline that is freshly loaded."""

    @classmethod
    def check_recipe(cls, recipe: Recipe) -> None:
        """Raise GeneratorError for a scheduler or a sampler field that the family does not have."""
        scheduler = recipe.sampler.scheduler
        if scheduler not in cls.SCHEDULERS:
            known = ", ".join(cls.SCHEDULERS)
            raise GeneratorError(f"sampler.scheduler: this model cannot use {scheduler}; use {known}")
        for field, only in cls.FIXED.items():
            value = getattr(recipe.sampler, field)
            if value != only:
                raise GeneratorError(f"sampler.{field}: is {value}, this model needs {only}")
        if recipe.sampler.feedback is not None and recipe.arithmetic.compile:
            raise GeneratorError(
                "arithmetic.compile: goes without sampler.feedback, which needs gradients; set it to false"
            )

    @classmethod
    def check_size(cls, folder: Path, size: int) -> None:
        """Raise GeneratorError for a `sampler.size` that is no multiple of what the decoder makes."""
        try:
            step = cls._size_step(folder)
        except (OSError, ValueError, LookupError, TypeError):
            # Loading it says what is wrong with its files.
            return
        if size % step:
            raise GeneratorError(f"sampler.size: is {size}, this model needs a multiple of {step}")

    @classmethod
    def evaluates_halves(cls, folder: Path) -> bool:
        """Return whether the denoiser does not read the scale of guidance, as distilled ones do."""
        return component_config(folder, cls.DENOISER).get("time_cond_proj_dim") is None

    @classmethod
    def check_cache(cls, folder: Path, cache: Cache) -> None:
        """Raise GeneratorError for a `sampler.cache` that the model's denoiser cannot have."""
        check_cache(component_config(folder, cls.DENOISER), cache)

    @classmethod
    def image_edge(cls, folder: Path) -> int:
        """Return the edge in pixels: that of the latents, doubled by each upsampling of the decoder."""
        return int(component_config(folder, cls.DENOISER)["sample_size"]) << cls._upsamplings(folder)

    @classmethod
    def _size_step(cls, folder: Path) -> int:
        """Return what `sampler.size` must be a multiple of."""
        return 1 << cls._upsamplings(folder)

    @classmethod
    def _upsamplings(cls, folder: Path) -> int:
        return len(component_config(folder, cls.DECODER)["block_out_channels"]) - 1

    @classmethod
    def load(cls, checkpoint: Checkpoint, recipe: Recipe, device: str) -> Self:
        """Return the generator of a checkpoint on a device, set as a recipe says.

        Raises GeneratorError if it cannot be loaded, or cannot compute so on this device.
        """
        pipeline = cls.read(checkpoint, dtype=recipe.model.dtype, device=device)
        return cls(pipeline, sampler=recipe.sampler, arithmetic=recipe.arithmetic)

    @classmethod
    def read(cls, checkpoint: Checkpoint, *, dtype: str, device: str) -> Any:
        """Return a checkpoint's pipeline on a device, unchanged.

        Raises GeneratorError if it cannot be loaded.
        """
        import torch

        check_dtype(dtype, device)
        silence_libraries()
        with linked(checkpoint.files) as folder:
            not_loaded = left_out(read_index_of(folder, checkpoint.name), folder)
            try:
                pipeline = cls._open(folder, getattr(torch, dtype), not_loaded).to(device)
            except Exception as error:
                # Three libraries read a model's files and each raises errors of its own; the first is the
                # cause.
                reason = one_line(str(error).replace(f"{folder}/", "").replace(str(folder), checkpoint.name))
                raise GeneratorError(f"model {checkpoint.name}: cannot be loaded: {reason}") from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @classmethod
    def _open(cls, folder: Path, dtype: torch.dtype, not_loaded: Mapping[str, None]) -> Any:
        """Return the pipeline of a folder that has the model's files and no other.

        `not_loaded` are the components that are named in it and left out, each as None.
        """
        import diffusers

        name = read_index_of(folder, "here")["_class_name"]
        return getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, **not_loaded
        )
