"""What bench/gpu.py measures: rates of the device, of a configuration and of the per-image script."""

from __future__ import annotations

import gc
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray
from PIL import Image
from unclip_model import Scale

from synthkit.generators.unclip import UnclipGenerator
from synthkit.recipe.arithmetic import STOCK, Arithmetic
from synthkit.recipe.output import Output
from synthkit.recipe.sampler import Sampler
from synthkit.release.image_writer import encode, picture

STEPS = 30
Values = dict[str, Any]


@dataclass(frozen=True)
class Configuration:
    """One way to make images: what a recipe says of it, and at which of the two edges."""

    name: str
    dtype: str = "bfloat16"
    batch: int = 16
    large: bool = True
    arithmetic: Arithmetic = STOCK
    guidance: float = 10.0


@dataclass
class Machine:
    """The model on the device in float32, and copies of its encoders in narrower types."""

    device: str
    scale: Scale
    master: Any = None
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def gpu(self) -> bool:
        """Whether there is something to wait for."""
        return self.device.startswith("cuda")

    def edge(self, configuration: Configuration) -> int:
        """Of a configuration's images, in pixels."""
        return self.scale.edges[0 if configuration.large else 1]

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.gpu:
            torch.cuda.synchronize()

    def clear(self) -> None:
        """Give back what the last configuration held, compiled code included."""
        torch.compiler.reset()
        gc.collect()
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def gigabytes(self) -> float:
        """Return the most memory in use since `clear`, without the copies that only this bench keeps."""
        if not self.gpu:
            return 0.0
        kept = [self.master.components[name] for name in ("unet", "vae", "text_encoder", "image_encoder")]
        shared = sum(p.nbytes for part in kept for p in part.parameters())
        return (torch.cuda.max_memory_allocated() - shared) / 1e9

    def pipeline(self, dtype: str, edge: int) -> Any:
        """Return a new pipeline with the same weights, and a UNet and VAE of its own."""
        wanted = getattr(torch, dtype)
        if dtype not in self.encoders:
            names = ("text_encoder", "image_encoder")
            self.encoders = {
                dtype: {name: deepcopy(self.master.components[name]).to(wanted) for name in names}
            }
            normalizer = deepcopy(self.master.image_normalizer)
            self.encoders[dtype]["image_normalizer"] = normalizer.to(self.device, wanted)
        own = {name: deepcopy(self.master.components[name]).to(wanted) for name in ("unet", "vae")}
        own["unet"].register_to_config(sample_size=edge // self.scale.factor)
        pipeline = type(self.master)(**{**self.master.components, **self.encoders[dtype], **own})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def generator(self, configuration: Configuration) -> UnclipGenerator:
        """Return synthkit's generator, at the size and in the type of a configuration."""
        sampler = Sampler(steps=STEPS, batch_size=configuration.batch, guidance_scale=configuration.guidance)
        pipeline = self.pipeline(configuration.dtype, self.edge(configuration))
        return UnclipGenerator(pipeline, sampler=sampler, arithmetic=configuration.arithmetic)


def rows(size: int, count: int) -> tuple[NDArray[np.float32], list[str], list[int]]:
    """Embeddings, prompts and seeds of a batch."""
    rng = np.random.default_rng(1)
    embeddings = rng.standard_normal((count, size)).astype(np.float32)
    return embeddings, [f"a photo of class {row}" for row in range(count)], list(range(count))


def matmul_rate(device: str, size: int, dtype: torch.dtype) -> float:
    """10^12 operations per second of a square matrix product of random numbers."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / best_seconds(device, lambda: a @ b) / 1e12


def copy_rate(device: str, size: int) -> float:
    """10^9 bytes per second read and written by a copy."""
    source = torch.randn(size, size, 8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(device, lambda: target.copy_(source)) / 1e9


def best_seconds(device: str, work: Callable[[], Any]) -> float:
    """Seconds of one call: the median of rounds of 20, after a second of warming up on a GPU."""
    gpu = device.startswith("cuda")
    times = []
    for _ in range(9 if gpu else 3):
        if gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(20 if gpu else 2):
            work()
        if gpu:
            torch.cuda.synchronize()
        times.append((time.perf_counter() - started) / (20 if gpu else 2))
    return statistics.median(times[len(times) // 3 :])


def step_times(machine: Machine, generator: UnclipGenerator, batch: int) -> Values:
    """Seconds of a denoising step and of decoding, and of the first call, which compiles."""
    work = rows(generator.embedding_shape[-1], batch)
    started = time.perf_counter()
    generator.resampled(sampler_of(generator, 2)).generate(*work)
    first = time.perf_counter() - started
    short = generator.resampled(sampler_of(generator, 4))
    ends: list[float] = []

    def on_step() -> None:
        machine.wait()
        ends.append(time.perf_counter())

    short.on_step = on_step
    pixels = short.generate(*work)
    done = time.perf_counter()
    step = statistics.median(after - before for before, after in pairwise(ends))
    return {
        "seconds_first_call": round(first, 2),
        "seconds_per_step": step,
        "seconds_decode": done - ends[-1],
        "image_std": round(float(pixels.std()), 1),
    }


def sampler_of(generator: UnclipGenerator, steps: int) -> Sampler:
    return generator.sampler.model_copy(update={"steps": steps})


def speed(machine: Machine, configuration: Configuration) -> tuple[Values, UnclipGenerator]:
    """Images per second by the times of single steps; the generator for whoever goes on with it."""
    machine.clear()
    generator = machine.generator(configuration)
    found = step_times(machine, generator, configuration.batch)
    seconds = (STEPS + 1) * found["seconds_per_step"] + found["seconds_decode"]
    found |= {"images_per_second": configuration.batch / seconds, "estimated": True}
    found["arithmetic"] = configuration.arithmetic.model_dump(exclude_defaults=True)
    if machine.gpu:
        found["peak_gb"] = round(machine.gigabytes(), 1)
    return found, generator


def end_to_end(
    machine: Machine, generator: UnclipGenerator, batch: int, batches: int, edge: int
) -> tuple[Values, NDArray[np.uint8]]:
    """All steps, and JPEG files encoded by a thread beside the next batch, as `synthkit build` does."""
    work = rows(generator.embedding_shape[-1], batch)
    machine.wait()
    started = time.perf_counter()
    images = generator.generate(*work)
    alone = time.perf_counter() - started
    started = time.perf_counter()
    encode_all(images, edge)
    encoding = time.perf_counter() - started
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as after:
        finishing = None
        for _ in range(batches):
            again = generator.generate(*work)
            if finishing is not None:
                finishing.result()
            finishing = after.submit(encode_all, again, edge)
        generated = time.perf_counter() - started
        if finishing is not None:
            finishing.result()
    return {
        "images_per_second": batch / alone,
        "seconds_encoding_a_batch": encoding,
        "slower_beside_encoding": generated / batches / alone,
        "same_bytes_twice": bool(np.array_equal(images, again)),
        "sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "estimated": False,
        "image_std": round(float(images.std()), 1),
    }, images


def encode_all(images: NDArray[np.uint8], edge: int) -> int:
    output = Output(format="jpeg", size=edge)
    mark = bytes(1200)  # as long as that of a release
    return sum(len(encode(picture(pixels, output), output, mark)) for pixels in images)


def per_image_script(machine: Machine, images: int) -> Values:
    """Measure the plain way: encode both real images and the prompt for every image, and save a PNG."""
    machine.clear()
    pipeline = machine.pipeline("float16" if machine.gpu else "float32", machine.scale.edges[0])
    torch.backends.cudnn.deterministic = False
    rng = np.random.default_rng(0)
    real = [Image.fromarray(rng.integers(0, 256, (375, 500, 3), np.uint8)) for _ in range(2)]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(images + 1):
            machine.wait()
            started = time.perf_counter()
            one_image(pipeline, real, number).save(Path(folder) / f"{number}.png")
            times.append(time.perf_counter() - started)
    return {"images_per_second": 1 / statistics.median(times[1:]), "seconds_each": times[1:]}


@torch.no_grad()
def one_image(pipeline: Any, real: Sequence[Image.Image], seed: int) -> Image.Image:
    encoder = pipeline.image_encoder
    pixels = pipeline.feature_extractor(images=list(real), return_tensors="pt").pixel_values
    embeddings = encoder(pixels.to(pipeline.device, encoder.dtype)).image_embeds
    return pipeline(
        prompt="a photo of a tench",
        image_embeds=embeddings.mean(0, keepdim=True),
        num_inference_steps=STEPS,
        guidance_scale=10.0,
        noise_level=0,
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images[0]
