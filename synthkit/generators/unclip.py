"""Stable unCLIP (diffusers' StableUnCLIPImg2ImgPipeline) as a generator.

The pipeline's own call does the sampling, fed with embeddings that are computed once. Per-image
generators on the CPU give every image its own noise, whatever the batch around it.
"""

from __future__ import annotations

import importlib
import logging
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators import check_arithmetic
from synthkit.generators.arithmetic import apply
from synthkit.generators.noise import draw_in_float32
from synthkit.recipe.schema import STOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.checkpoint import Checkpoint
    from synthkit.recipe.schema import Arithmetic, Sampler

# Recipe name: diffusers class, and what it is told beyond the model's own scheduler configuration.
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "pndm": ("PNDMScheduler", {}),
    "ddim": ("DDIMScheduler", {}),
    "dpm-solver++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
}
# What a class does to pixels by default, and must not do to latents, whose values lie beyond -1 and 1. A
# model's configuration for another class need not mention it; one that does is obeyed.
_UNLESS_CONFIGURED: dict[str, dict[str, Any]] = {"ddim": {"clip_sample": False}}
# What can hold more than a narrow model.dtype.
_WIDER = {"float16": "bfloat16 or float32", "bfloat16": "float32"}


class OutOfMemory(GeneratorError):
    """A batch is too large for the device."""


class UnclipGenerator:
    """A Stable unCLIP pipeline, frozen, on one device, sampled one way, at one batch shape.

    The pipeline is freshly loaded and from now on the generator's own: `arithmetic` changes it.
    """

    def __init__(self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK) -> None:
        import torch

        self.on_step: Callable[[], None] = _nothing
        self._torch = torch
        self.sampler = sampler
        self._arithmetic = arithmetic
        self._pipeline = pipeline
        self._device = pipeline.device
        self._dtype: torch.dtype = pipeline.unet.dtype
        apply(pipeline, arithmetic)
        draw_in_float32(pipeline)
        pipeline.scheduler = _scheduler(pipeline.scheduler, sampler)
        self._prompts: dict[str, torch.Tensor] = {}

    def resampled(self, sampler: Sampler) -> Self:
        """The same model, sampled another way. Both share the model: use one at a time."""
        other = copy(self)
        other.sampler = sampler
        other._pipeline = copy(self._pipeline)
        draw_in_float32(other._pipeline)
        other._pipeline.scheduler = _scheduler(self._pipeline.scheduler, sampler)
        return other

    @property
    def embedding_size(self) -> int:
        """Coordinates of an image embedding."""
        return int(self._pipeline.image_encoder.config.projection_dim)

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(N, D) float32 embeddings f(x), computed in batches of the recipe's size."""
        size = self.sampler.batch_size
        with self._enough_memory():
            parts = [self._embed_batch(images[at : at + size]) for at in range(0, len(images), size)]
        return np.concatenate(parts)

    def embed_prompts(self, prompts: Sequence[str]) -> None:
        """Encode prompts, each alone so that its embedding does not depend on the others."""
        for prompt in prompts:
            if prompt not in self._prompts:
                self._check_length(prompt)
                with self._torch.no_grad():
                    encoded, _ = self._pipeline.encode_prompt(prompt, self._device, 1, False)
                self._prompts[prompt] = encoded[0]

    def _check_length(self, prompt: str) -> None:
        """A prompt that is cut off would lose its class name without a word."""
        tokenizer = self._pipeline.tokenizer
        tokens = len(tokenizer(prompt).input_ids)
        if tokens > tokenizer.model_max_length:
            raise GeneratorError(
                f"prompt: {prompt[:60]!r} has {tokens} tokens, the model reads {tokenizer.model_max_length}; "
                "shorten the prompt, rename the class with source.classes, or set a prompt without {name}"
            )

    def generate(
        self, embeddings: NDArray[np.float32], prompts: Sequence[str], seeds: Sequence[int]
    ) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8 from (N, D) embeddings, N prompts and N seeds; N at most a batch."""
        count = len(seeds)
        rows = _padded(range(count), self.sampler.batch_size)
        with self._enough_memory():
            images = self._sample(
                embeddings[rows], [prompts[row] for row in rows], [seeds[row] for row in rows]
            )
            pixels, finite = self._to_host(images)
        if not finite:
            first = rows[int(images.isfinite().flatten(1).all(dim=1).int().argmin())]
            raise GeneratorError(
                f"the model made values that are not numbers for {prompts[first]!r}: {self._to_get_numbers()}"
            )
        return pixels[:count]

    def _to_get_numbers(self) -> str:
        """What to try, of what is not set already."""
        wider = _WIDER.get(str(self._dtype).removeprefix("torch."))
        if wider:
            return f"model.dtype may be too narrow for it: use {wider}"
        how = self.sampler
        return (
            "in float32, so its files are damaged, or it does not bear "
            f"sampler.scheduler={how.scheduler}, sampler.steps={how.steps}, "
            f"sampler.guidance_scale={how.guidance_scale:g}: try others, or another copy of the model"
        )

    def _sample(
        self, embeddings: NDArray[np.float32], prompts: Sequence[str], seeds: Sequence[int]
    ) -> torch.Tensor:
        """A whole batch through the pipeline: (N, 3, H, W) in [0, 1], on the device."""
        self.embed_prompts(["", *prompts])
        text = self._torch.stack([self._prompts[prompt] for prompt in prompts])
        images: torch.Tensor = self._pipeline(
            image_embeds=self._torch.from_numpy(embeddings).to(self._device, self._dtype),
            prompt_embeds=text,
            negative_prompt_embeds=self._prompts[""].expand_as(text),
            generator=[self._torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            num_inference_steps=self.sampler.steps,
            guidance_scale=self.sampler.guidance_scale,
            noise_level=self.sampler.noise_level,
            output_type="pt",
            callback=lambda step, timestep, latents: self.on_step(),
        ).images
        return images

    def _to_host(self, images: torch.Tensor) -> tuple[NDArray[np.uint8], bool]:
        """(N, H, W, 3) uint8, and whether all were numbers: converted on the device, waited for once."""
        pixels = images.permute(0, 2, 3, 1).float().mul(255).round_().to(self._torch.uint8)
        finite = images.isfinite().all()
        if images.device.type != "cuda":
            return pixels.cpu().contiguous().numpy(), bool(finite)
        host = self._torch.empty(pixels.shape, dtype=self._torch.uint8, pin_memory=True)
        host.copy_(pixels, non_blocking=True)
        # Reading the flag waits for the device, and so for the copy before it.
        return host.numpy(), bool(finite)

    def _embed_batch(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        batch = [images[row] for row in _padded(range(len(images)), self.sampler.batch_size)]
        pixels = self._pipeline.feature_extractor(images=batch, return_tensors="pt").pixel_values
        with self._torch.no_grad():
            out = self._pipeline.image_encoder(pixels.to(self._device, self._dtype)).image_embeds
        embeddings: NDArray[np.float32] = out.float().cpu().numpy()
        return embeddings[: len(images)]

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """A batch that does not fit the device is a mistake in the recipe, told as one."""
        try:
            yield
        except RuntimeError as error:
            # The CPU's allocator has no error of its own.
            if not isinstance(error, self._torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            size = self.sampler.batch_size
            raise OutOfMemory(
                f"the device has too little memory for batches of {size}: {self._to_need_less()}"
            ) from error

    def _to_need_less(self) -> str:
        """What to try, of what is not set already."""
        ways = ["lower sampler.batch_size"] if self.sampler.batch_size > 1 else []
        ways += [] if self._arithmetic.vae_slicing else ["set arithmetic.vae_slicing"]
        if self._device.type != "cpu" and self._dtype == self._torch.float32:
            ways.append("set model.dtype to bfloat16 or float16")
        return " or ".join(ways) or "use a device with more, or a smaller model"


def _padded(rows: Sequence[int], size: int) -> list[int]:
    """The rows, the last one repeated until there are `size`."""
    return [*rows, *[rows[-1]] * (size - len(rows))]


def _nothing() -> None:
    pass


def read_pipeline(checkpoint: Checkpoint, *, dtype: str, device: str) -> Any:
    """The pipeline of a checkpoint on a device, as it is. Raises GeneratorError if it cannot be had."""
    import torch
    from diffusers import StableUnCLIPImg2ImgPipeline

    check_arithmetic(dtype, device)
    _quieten()
    try:
        pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
            checkpoint.folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
        ).to(device)
    except Exception as error:
        # Three libraries read a model's files and each fails in ways of its own; the cause is kept.
        reason = " ".join(str(error).split())[:200]
        raise GeneratorError(f"model {checkpoint.name}: cannot be loaded: {reason}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _quieten() -> None:
    """Progress bars and logs of the libraries off: what matters is in the error that is raised."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()


def _scheduler(current: Any, sampler: Sampler) -> Any:
    class_name, options = SCHEDULERS[sampler.scheduler]
    scheduler_class = getattr(importlib.import_module("diffusers"), class_name)
    unset = _UNLESS_CONFIGURED.get(sampler.scheduler, {}).items()
    options = {**options, **{name: value for name, value in unset if name not in current.config}}
    scheduler = scheduler_class.from_config(current.config, **options)
    set_timesteps = scheduler.set_timesteps
    # On the CPU, wherever the pipeline wants them: compared there, they make no step wait for a GPU.
    scheduler.set_timesteps = lambda steps, device=None: set_timesteps(steps)
    scheduler.set_timesteps(sampler.steps)
    last = scheduler.config.num_train_timesteps - 1
    if float(max(scheduler.timesteps)) > last:
        raise GeneratorError(
            f"sampler.steps: {sampler.steps} are more than this model's {sampler.scheduler} scheduler has; "
            f"use fewer than {last}"
        )
    return scheduler
