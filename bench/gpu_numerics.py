"""How far an option of `arithmetic` is from the stock pipeline, by the same noise and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch  # noqa: TID253
from gpu_measure import STEPS, Configuration, Machine, Values, rows
from numpy.typing import NDArray
from unclip_model import EMBEDDED

from synthkit.generators.unclip import UnclipGenerator
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.sampler import Sampler

# The tiny model's own guidance; by 10 a random network leaves the range of pixels.
SHORT = Sampler(steps=6, batch_size=2, guidance_scale=2.0)
# By model and type: the stock pipeline's images, made once.
References = dict[tuple[str, str], NDArray[np.uint8]]


def options(dtype: str) -> dict[str, Arithmetic]:
    """One option each, as far as a type can have it and gains from it."""
    kernels = {"float32": ("efficient", "math"), "bfloat16": ("flash", "cudnn", "efficient", "math")}
    switches = ("channels_last", "fused_projections", "vae_slicing")
    found = {"stock": Arithmetic()}
    if dtype == "float32":
        found["tf32"] = Arithmetic(tf32=True)
    if dtype != "float16":
        found |= {name: Arithmetic(**{name: True}) for name in switches}
    return found | {name: Arithmetic(attention=name) for name in kernels.get(dtype, ("cudnn",))}


def compare(
    machine: Machine, references: References, model: str, dtype: str, arithmetic: Arithmetic
) -> Values:
    """PSNR in dB (null: equal), and whether two runs give the same bytes."""
    machine.clear()
    exact, same = (reference(machine, references, model, kind) for kind in ("float32", dtype))
    generator = UnclipGenerator(fresh(machine, model, dtype), sampler=SHORT, arithmetic=arithmetic)
    work = rows(generator.embedding_shape[-1], 2)
    with same_noise():
        images, again = generator.generate(*work), generator.generate(*work)
    return {
        "psnr_float32": psnr(images, exact),
        "psnr_same_dtype": psnr(images, same),
        "same_bytes_twice": bool((images == again).all()),
        "clipped": round(float(((images == 0) | (images == 255)).mean()), 3),
    }


def compare_whole(
    machine: Machine, images: dict[str, NDArray[np.uint8]], configuration: Configuration
) -> Values:
    """Two images of whole batches at the large edge and all steps, beside the stock pipeline in float32."""
    machine.clear()
    pipeline = machine.pipeline("float32", machine.edge(configuration))
    embeddings, prompts, seeds = rows(pipeline.image_encoder.config.projection_dim, configuration.batch)
    sampler = Sampler(steps=STEPS, guidance_scale=configuration.guidance)
    exact = stock_images(pipeline, (embeddings[:2], prompts[:2], seeds[:2]), sampler)
    found: Values = {f"{name}: psnr_float32": psnr(pixels[:2], exact) for name, pixels in images.items()}
    first, *others = images
    found |= {f"{name}: psnr_to {first}": psnr(images[name], images[first]) for name in others}
    return found


def reference(machine: Machine, references: References, model: str, dtype: str) -> NDArray[np.uint8]:
    """Return the stock pipeline's images, made once for each type."""
    if (model, dtype) not in references:
        pipeline = fresh(machine, model, dtype)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        with same_noise():
            work = rows(pipeline.image_encoder.config.projection_dim, 2)
            references[model, dtype] = stock_images(pipeline, work, SHORT)
    return references[model, dtype]


def fresh(machine: Machine, model: str, dtype: str) -> Any:
    """Return an unchanged pipeline of the random or of the embedded model."""
    if model == "random":
        return machine.pipeline(dtype, machine.scale.numerics_edge)
    from diffusers import StableUnCLIPImg2ImgPipeline

    pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
        EMBEDDED, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
    ).to(machine.device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stock_images(pipeline: Any, work: Any, sampler: Sampler) -> NDArray[np.uint8]:
    """Make a batch by the stock pipeline's own call."""
    embeddings, prompts, seeds = work
    images = pipeline(
        prompt=prompts,
        image_embeds=torch.from_numpy(embeddings).to(pipeline.device, pipeline.unet.dtype),
        num_inference_steps=sampler.steps,
        guidance_scale=sampler.guidance_scale,
        noise_level=0,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
    return np.stack([np.asarray(image) for image in images])


@contextmanager
def same_noise() -> Iterator[None]:
    """Noise drawn in float32 and rounded: PyTorch draws other numbers in narrower types."""
    from diffusers.pipelines.stable_diffusion import pipeline_stable_unclip_img2img as module

    drawn = module.randn_tensor

    def draw(shape: Any, *, generator: Any, device: Any, dtype: Any, **rest: Any) -> Any:
        return drawn(shape, generator=generator, device=device, dtype=torch.float32, **rest).to(dtype)

    module.randn_tensor = draw
    try:
        yield
    finally:
        module.randn_tensor = drawn


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float | None:
    """In dB over all channels; None for equal pixels."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return None if error == 0 else round(10 * float(np.log10(255**2 / error)), 1)
