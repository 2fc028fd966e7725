"""What all generators made of a diffusers pipeline share: the batch, the noise, the scheduler, the errors.

The pipeline's own call does the sampling, fed with embeddings that are computed once. Each image has a
random generator of its own on the CPU, so its noise is the same whatever the batch around it.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from synthkit.errors import GeneratorError
from synthkit.generators.advice import to_get_numbers, to_need_less
from synthkit.generators.arithmetic import apply
from synthkit.generators.base import OutOfMemory
from synthkit.generators.denoising import Denoising
from synthkit.generators.diffusers_checkpoint import DiffusersCheckpoint
from synthkit.generators.encoder_content import without_provenance
from synthkit.generators.evaluation import Batch
from synthkit.generators.feedback import Judge, judge_of
from synthkit.generators.noise import draw_latents_in_float32
from synthkit.generators.pixels import to_host
from synthkit.generators.prompt_cache import PromptCache
from synthkit.generators.rows import Rows, by_kind, padded
from synthkit.generators.schedulers import make_scheduler
from synthkit.generators.starting import LateScheduler, Started, encoded
from synthkit.levels import steps_left
from synthkit.recipe.arithmetic import STOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.generators.guide import Guide
    from synthkit.generators.starting import Start
    from synthkit.recipe.arithmetic import Arithmetic
    from synthkit.recipe.sampler import Sampler

# What encodings of prompts may take of the device: 6,500 prompts of Stable Diffusion 2.1, 250 of FLUX.1. It
# fits into the share of memory that `sampler.batch_size: auto` leaves free.
PROMPT_BYTES = 1 << 30
# Prompts are checked by so many at once.
_AT_ONCE = 1000


class DiffusersGenerator(DiffusersCheckpoint):
    """A diffusers pipeline, frozen, on one device, sampled one way, at one batch shape.

    A subclass is a family: it says how its pipeline embeds an image, encodes a prompt and is called, and
    changes what is other than here. Its images must not depend on their neighbours in the batch, which
    tests/generators checks. The pipeline is freshly loaded and from now on the generator's own, which
    changes it.
    """

    def __init__(self, pipeline: Any, *, sampler: Sampler, arithmetic: Arithmetic = STOCK) -> None:
        import torch

        self.on_step: Callable[[], None] = _nothing
        self.sampler = sampler
        self._torch = torch
        self._arithmetic = arithmetic
        self._pipeline = pipeline
        self._device = pipeline.device
        denoiser = getattr(pipeline, self.DENOISER)
        self._dtype: torch.dtype = denoiser.dtype
        decoder = getattr(pipeline, self.DECODER)
        apply(denoiser, decoder, arithmetic)
        self._denoising = Denoising(denoiser, arithmetic)
        self._can_slice = hasattr(decoder, "use_slicing")
        # What the batch begins from, beside noise.
        self._started: Started | None = None
        self._guide: Guide | None = None
        self._guided_decoder: Any = None
        self._draw_in_float32(pipeline)
        # Another scheduler's configuration would say less.
        self._own_scheduler = pipeline.scheduler
        pipeline.scheduler = make_scheduler(self._own_scheduler, sampler)
        # Of a prompt, what `_encode` makes of it.
        self._prompts = PromptCache(self._encoded, PROMPT_BYTES)

    @property
    def denoiser(self) -> Any:
        """The network that predicts the noise at each step."""
        return getattr(self._pipeline, self.DENOISER)

    def resampled(self, sampler: Sampler) -> Self:
        """Return the same model sampled another way. Both share the weights: use one at a time."""
        other = copy(self)
        other.sampler = sampler
        other._pipeline = copy(self._pipeline)
        other._draw_in_float32(other._pipeline)
        other._pipeline.scheduler = make_scheduler(self._own_scheduler, sampler)
        return other

    @property
    def edge(self) -> int:
        """The edge in pixels of its images."""
        own: int = self.denoiser.config.sample_size * self._pipeline.vae_scale_factor
        return self.sampler.size or own

    @property
    def null_embedding(self) -> NDArray[np.float32]:
        """Zeros, the null of models that were trained with image embeddings set to zero."""
        return np.zeros(self.embedding_shape, np.float32)

    @property
    def how_embedded(self) -> Mapping[str, object]:
        """The output that is taken, and how images are prepared, whatever files said so."""
        if not self.EMBEDS:
            return {}
        prepared = getattr(self._pipeline, self.PROCESSOR).to_dict()
        return {"takes": self.EMBEDS, "prepared": without_provenance(prepared)}

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the float32 embeddings f(x), computed in batches of the recipe's size."""
        size = self.sampler.batch_size
        with self._enough_memory():
            parts = [self._embed_batch(images[at : at + size]) for at in range(0, len(images), size)]
        return np.concatenate(parts)

    def _embed_batch(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        batch = [images[row] for row in padded(range(len(images)), self.sampler.batch_size)]
        with self._torch.no_grad():
            embeddings: NDArray[np.float32] = self._embed(batch).float().cpu().numpy()
        return embeddings[: len(images)]

    def check_prompts(self, prompts: Iterable[str]) -> None:
        """Raise GeneratorError for a prompt that the model would cut off, and perhaps the class name with it.

        The tokenizer alone is asked: nothing is encoded, and memory does not grow with the prompts.
        """
        if not self.READS_TEXT:
            return
        tokenizer, most = self._tokenizer()
        rest = iter(prompts)
        while some := list(islice(rest, _AT_ONCE)):
            for prompt, ids in zip(some, tokenizer(some).input_ids, strict=True):
                if len(ids) > most:
                    raise GeneratorError(
                        f"prompt: {prompt[:60]!r} has {len(ids)} tokens, the model reads {most}; shorten the "
                        "prompt, rename the class with source.classes, or set a prompt without {name}"
                    )

    def _tokenizer(self) -> tuple[Any, int]:
        """Return the tokenizer that cuts prompts off, and after how many tokens."""
        tokenizer = self._pipeline.tokenizer
        return tokenizer, tokenizer.model_max_length

    def _encoded(self, prompt: str) -> Any:
        with self._torch.no_grad():
            return self._encode(prompt)

    def generate(
        self,
        embeddings: NDArray[np.float32],
        prompts: Sequence[str],
        seeds: Sequence[int],
        weights: Sequence[float] | None = None,
        starts: Sequence[Start | None] | None = None,
        labels: Sequence[int] | None = None,
    ) -> NDArray[np.uint8]:
        """Return (N, H, W, 3) uint8 from N rows of what an image is made of; N at most a batch.

        Rows that begin at different steps are made apart. Raises OutOfMemory if the device cannot hold a
        batch, and GeneratorError if the model makes values that are not numbers.
        """
        rows = Rows(embeddings, prompts, seeds, weights, starts, labels)
        kinds = [self._kind(rows, row) for row in range(len(seeds))]
        return by_kind(kinds, lambda some: self._generate(rows.at(some)))

    def _kind(self, rows: Rows, row: int) -> Hashable:
        """Return what all rows of a batch have in common: how many steps run, if not all from noise."""
        start = rows.starts and rows.starts[row]
        return start and steps_left(self.sampler.steps, start.strength)

    def _generate(self, given: Rows) -> NDArray[np.uint8]:
        """Return the images of at most a batch of rows of one kind."""
        count = len(given.seeds)
        rows = given.at(padded(range(count), self.sampler.batch_size))
        with self._enough_memory():
            self._weigh(rows.weights)
            images = self._sample(rows)
            pixels, finite = to_host(images)
        if not finite:
            first = rows.prompts[int(images.isfinite().flatten(1).all(dim=1).int().argmin())]
            advice = to_get_numbers(self._dtype, self.sampler)
            raise GeneratorError(f"the model made values that are not numbers for {first!r}: {advice}")
        return pixels[:count]

    def _sample(self, rows: Rows) -> torch.Tensor:
        """Return a whole batch, (N, 3, H, W) in [0, 1], on the device."""
        conditions = self._torch.from_numpy(rows.embeddings).to(self._device, self._dtype)
        generators = [self._torch.Generator("cpu").manual_seed(seed) for seed in rows.seeds]
        training_steps = self._pipeline.scheduler.config.num_train_timesteps
        annealed = self._conditioning() if self.sampler.cads is not None else {}
        batch = Batch(self.sampler, rows.seeds, training_steps, annealed)
        self._denoising.begin(batch, self._judge(rows.labels))
        with self._starting(rows):
            return self._call(conditions, rows.prompts, generators)

    def use_guide(self, guide: Guide) -> None:
        """Be guided by a classifier from now on, if `sampler.feedback` says so."""
        self._guide, self._guided_decoder = guide, self._decoder_with_gradient()
        for part in self._pipeline.components.values():
            if isinstance(part, self._torch.nn.Module):
                part.requires_grad_(requires_grad=False)
        # What is computed twice need not be kept; the second time, PyTorch chooses the kernel of attention.
        if self._device.type != "cpu" and self._arithmetic.attention == "sdpa":
            for network in (self.denoiser, getattr(self._pipeline, self.DECODER)):
                if getattr(network, "_supports_gradient_checkpointing", False):
                    network.enable_gradient_checkpointing()

    def _judge(self, labels: Sequence[int] | None) -> Judge | None:
        """Return what guides a batch of some classes; None if nothing does."""
        feedback = self.sampler.feedback
        if feedback is None or not feedback.scale:
            return None
        if self._guide is None or labels is None:
            raise GeneratorError("sampler.feedback: was given no classifier and no classes")
        marks = self._torch.tensor(labels, device=self._device)
        return judge_of(feedback, self._guide, self._decoded, self._pipeline.scheduler, marks)

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of clean latents, (N, 3, H, W) float32, about 0 to 1, with their gradient."""
        vae = self._guided_decoder
        scaled = latents / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)
        images: torch.Tensor = vae.decode(scaled.to(vae.dtype)).sample
        return images.float() / 2 + 0.5

    def _decoder_with_gradient(self) -> Any:
        """Return the decoder for images of which a gradient is taken."""
        return getattr(self._pipeline, self.DECODER)

    @contextmanager
    def _starting(self, rows: Rows) -> Iterator[None]:
        """Let the pipeline begin from the starts of a batch, which all have the same steps left."""
        starts = [start for start in rows.starts or () if start is not None]
        if not starts:
            yield
            return
        whole, left = self._pipeline.scheduler, steps_left(self.sampler.steps, starts[0].strength)
        late = make_scheduler(self._own_scheduler, self.sampler, late=True)
        self._pipeline.scheduler = LateScheduler(late, self.sampler.steps, left)
        latents = self._latents(np.stack([start.pixels for start in starts]))
        self._started = Started(self._pipeline.scheduler, latents)
        try:
            yield
        finally:
            self._started, self._pipeline.scheduler = None, whole

    def _latents(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return what the decoder would decode to (N, E, E, 3) pixels, as (N, C, H, W) float32."""
        return encoded(getattr(self._pipeline, self.DECODER), pixels)

    def _begun(self, noise: torch.Tensor) -> torch.Tensor:
        """Return what the first step is given, of noise (N, C, H, W)."""
        return noise if self._started is None else self._started.noised(noise)

    def _weigh(self, weights: Sequence[float] | None) -> None:
        """Set how much each row's image counts in the next batch; families with WEIGHS_IMAGES have it.

        None is the model's own weight.
        """
        if weights is not None:
            raise NotImplementedError

    def _conditioning(self) -> Mapping[str, slice]:
        """Return what `sampler.cads` anneals, as `Batch.conditioning`; families that SAMPLES_BY it have it.

        It is all that stands for the text and the image, and nothing else that the denoiser is told.
        """
        raise NotImplementedError

    @abstractmethod
    def _embed(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return the (N, D) embeddings of a batch of RGB images."""

    @abstractmethod
    def _encode(self, prompt: str) -> Any:
        """Return what the pipeline is given for one prompt: a tensor, or several in a tuple.

        It must not depend on other prompts. `_prompts` keeps it.
        """

    @abstractmethod
    def _call(
        self, embeddings: torch.Tensor, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> torch.Tensor:
        """Return (N, 3, H, W) in [0, 1] from a batch of embeddings, as the pipeline's own call makes it.

        `_prompts` gives what the model makes of a prompt. `on_step` must be called at each denoising step.
        """

    def _stepped(self, pipeline: object, step: int, timestep: object, tensors: Any) -> Any:
        """Tell of a step: the `callback_on_step_end` of pipelines that have one."""
        self.on_step()
        return tensors

    def _draw_in_float32(self, pipeline: Any) -> None:
        """Make one pipeline object draw all its noise in float32."""
        draw_latents_in_float32(pipeline, self._begun)

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Turn a failed allocation into OutOfMemory, which names the settings that need less."""
        try:
            yield
        except RuntimeError as error:
            # The CPU's allocator raises a plain RuntimeError.
            if not isinstance(error, self._torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            size, can_slice = self.sampler.batch_size, self._can_slice and not self._arithmetic.vae_slicing
            wide = self._device.type != "cpu" and self._dtype == self._torch.float32
            raise OutOfMemory(
                f"the device has too little memory for batches of {size}: "
                f"{to_need_less(size, can_slice=can_slice, can_narrow=wide)}"
            ) from error


def _nothing() -> None:
    pass
