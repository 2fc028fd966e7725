"""Images per second of a whole build against scripts around the stock pipeline, and against the bare model.

    python bench/generate.py [--images 768] [--rounds 3] [--json]

The embedded model, 32x32 digits, the steps, guidance and batch size of `recipes/digits_lt_ecd.yaml`:

    per-image script   the stock pipeline in the paper's style: one image a call, both images of the pair
                       and the prompt encoded every time, CutMix and dropout, a PNG saved. In float32 and in
                       bfloat16, with one thread and with all: its best counts
    stock batched      the same in batches, PIL images, nothing saved
    bare loop          UNet, scheduler, guidance and VAE alone, to uint8, from inputs that are ready: in one
                       process with all threads, and in two at once with one thread each
    build              `make_release` of a fresh release in one process: real images read, embedded, mixed;
                       images made, encoded, hashed; tars, records and release folder written
    1 or 2 workers     the command line, one thread in each process (what it does by itself on two cores);
                       its own rate of generating, from the first batch to the last shard

In turn, several rounds, medians. Nothing else may run: threads that share a batch wait for each other.
Imports and the loading of the model are in no clock: what the build spends on loading is taken off (unless
worker processes do it). The per-image script makes a 32nd of the images in each of its four ways.

Of the ratios, `model_share_of_build` is the part of a one-process build's time (loading excepted) that is
spent in the model's own calls: the rest is all that conditioning, encoding, hashing, writing and finishing
the release cost. It needs no second run to compare with, so a noisy machine changes it least.
`build_vs_bare_loop` compares two workers with two bare loops at once, in float32: what
everything but the model costs; `one_process_vs_bare_loop` the same for one process with all threads, which
the encoding of images then shares. `build_vs_per_image_script` compares two workers with the script's best,
in float32; `bfloat16_build_vs_per_image_script` two workers in bfloat16.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from diffusers import StableUnCLIPImg2ImgPipeline  # noqa: TID253
from PIL import Image
from torch import Tensor  # noqa: TID253

from synthkit.builder import ready
from synthkit.builder.inputs import Inputs, read_inputs
from synthkit.builder.make import make_release
from synthkit.builder.options import Options
from synthkit.generators.checkpoint import locate
from synthkit.generators.model_files import linked
from synthkit.recipe.load import load
from synthkit.recipe.schema import Recipe
from synthkit.release.plan import PlannedImage

ROOT = Path(__file__).parents[1]
BATCH = 32
RECIPE = ROOT / "recipes" / "digits_lt_ecd.yaml"
PER_IMAGE, BATCHED, BARE, BUILD = "per-image script", "stock batched", "bare loop", "build"
BARE_2 = "2 bare loops of 1 thread at once"
ONE_THREAD = ", 1 thread"
DTYPES = ("float32", "bfloat16")


class Script:
    """What the scripts share: the stock pipeline and the planned images of the release."""

    def __init__(self, recipe: Recipe, inputs: Inputs, dtype: str) -> None:
        self.recipe, self.inputs = recipe, inputs
        self.dtype: torch.dtype = getattr(torch, dtype)
        with linked(locate(recipe.model).files) as folder:
            self.pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
                folder, dtype=self.dtype, use_safetensors=True, local_files_only=True
            )
        self.pipeline.set_progress_bar_config(disable=True)
        self.settings: dict[str, Any] = {
            "num_inference_steps": recipe.sampler.steps,
            "guidance_scale": recipe.sampler.guidance_scale,
            "noise_level": recipe.sampler.noise_level,
        }

    def rows(self, images: int) -> list[PlannedImage]:
        """Return the first planned images, in order."""
        return [self.inputs.plan.row(index) for index in range(images)]

    def prompt(self, row: PlannedImage) -> str:
        """Return the prompt that the text encoder reads."""
        first = self.inputs.real.listing.ids[row.sources[0]] if row.sources else None
        return self.inputs.prompts.of(row.label, row.seed, first)

    def embed(self, images: list[Image.Image]) -> Tensor:
        """(N, D)."""
        pixels = self.pipeline.feature_extractor(images=images, return_tensors="pt").pixel_values
        embedded: Tensor = self.pipeline.image_encoder(pixels.to(self.dtype)).image_embeds
        return embedded

    def conditioned(self, rows: list[PlannedImage]) -> Tensor:
        """CutMix of every pair's embeddings along their coordinates, then dropout without rescaling."""
        pairs = [self.inputs.real.load(position) for row in rows for position in row.sources]
        first, second = self.embed(pairs).view(len(rows), 2, -1).unbind(1)
        size = first.shape[1]
        mixed = first.clone()
        for target, other in zip(mixed, second, strict=True):
            centre, half = int(torch.randint(size, ())), int(torch.rand(()) * size / 2)
            span = slice(max(0, centre - half), centre + half)
            target[span] = other[span]
        return mixed * (torch.rand_like(mixed) >= self.recipe.conditioning.dropout)


@torch.no_grad()
def per_image(script: Script, images: int, folder: Path) -> None:
    for row in script.rows(images):
        made = script.pipeline(
            prompt=script.prompt(row),
            image_embeds=script.conditioned([row]),
            generator=torch.Generator().manual_seed(row.seed),
            **script.settings,
        )
        made.images[0].save(folder / f"{row.index}.png")


@torch.no_grad()
def batched(script: Script, images: int) -> None:
    size = script.recipe.sampler.batch_size
    rows = script.rows(images)
    for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
        script.pipeline(
            prompt=[script.prompt(row) for row in batch],
            image_embeds=script.conditioned(batch),
            generator=[torch.Generator().manual_seed(row.seed) for row in batch],
            **script.settings,
        )


@torch.inference_mode()
def bare(script: Script, images: int) -> None:
    unet, vae, scheduler = script.pipeline.unet, script.pipeline.vae, script.pipeline.scheduler
    sampler, config = script.recipe.sampler, unet.config
    size = sampler.batch_size
    text = torch.randn(2 * size, script.pipeline.tokenizer.model_max_length, config.cross_attention_dim)
    labels = torch.randn(2 * size, config.projection_class_embeddings_input_dim)
    for _ in range(0, images, size):
        latents = torch.randn(size, config.in_channels, config.sample_size, config.sample_size)
        scheduler.set_timesteps(sampler.steps)
        for step in scheduler.timesteps:
            both = unet(
                torch.cat([latents, latents]),
                step,
                encoder_hidden_states=text,
                class_labels=labels,
                return_dict=False,
            )[0]
            plain, told = both.chunk(2)
            guided = plain + sampler.guidance_scale * (told - plain)
            latents = scheduler.step(guided, step, latents, return_dict=False)[0]
        decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


# Of every build in one process, the part of its time that the model took.
MODEL_SHARES: list[float] = []


def build(recipe: Recipe, images: int, folder: Path) -> float:
    """Seconds that the build spent on loading the model."""
    spent, in_model = 0.0, 0.0
    loading = ready.load

    def timed(*args: Any, **options: Any) -> Any:
        nonlocal spent
        started = time.perf_counter()
        loaded = loading(*args, **options)
        generate = loaded.generate

        def counted(*inputs: Any) -> Any:
            nonlocal in_model
            began = time.perf_counter()
            made = generate(*inputs)
            in_model += time.perf_counter() - began
            return made

        loaded.generate = counted
        spent += time.perf_counter() - started
        return loaded

    began = time.perf_counter()

    ready.load = timed
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            make_release(recipe, Options(out=folder, limit=images, workers=1, fresh=True))
    finally:
        ready.load = loading
    MODEL_SHARES.append(in_model / (time.perf_counter() - began - spent))
    return spent


def bare_at_once(processes: int, images: int) -> float:
    """Images per second of several bare loops together, each a process with one thread."""
    command = [sys.executable, __file__, "--bare", "--images", str(images // processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    return sum(float(process.communicate()[0]) for process in running)


def by_workers(workers: int, dtype: str, images: int) -> float:
    """Images per second of generating, as the command line's build notes them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'eval'}"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "synthkit", "build", str(RECIPE), "--fresh", "--out", folder]
        command += ["--limit", str(images), "--workers", str(workers), "--set", f"model.dtype={dtype}"]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        (log,) = Path(folder).glob(".synthkit/*/build.jsonl")
        events = [json.loads(line) for line in log.read_text().splitlines()]
    return float([event for event in events if event["event"] == "generated"][-1]["images_per_second"])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rate(work: Callable[[Path], float | None], images: int) -> float:
    """Images per second of some work in a fresh folder, less the seconds that it gives back."""
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        taken_off = work(Path(name)) or 0.0
        return images / (time.perf_counter() - started - taken_off)


def contenders(recipe: Recipe, images: int) -> dict[str, Callable[[], float]]:
    """Each gives its images per second."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        inputs = read_inputs(recipe, Path(name), limit=images)
    scripts = {dtype: Script(recipe, inputs, dtype) for dtype in DTYPES}
    script = scripts["float32"]
    few = max(images // 32, 1)
    found: dict[str, Callable[[], float]] = {}
    for dtype, peer in scripts.items():
        slow = partial(rate, partial(per_image, peer, few), few)
        found[f"{PER_IMAGE}, {dtype}"] = slow
        found[f"{PER_IMAGE}, {dtype}{ONE_THREAD}"] = one_thread()(slow)
    found |= {
        BATCHED: lambda: rate(lambda _: batched(script, images), images),
        BARE: lambda: rate(lambda _: bare(script, images), images),
        BARE_2: partial(bare_at_once, 2, images),
        BUILD: lambda: rate(lambda folder: build(recipe, images, folder), images),
    }
    for dtype in DTYPES:
        for workers in (1, 2):
            found[workers_label(workers, dtype)] = partial(by_workers, workers, dtype, images)
    return found


def workers_label(workers: int, dtype: str) -> str:
    return f"{workers} worker{'s' if workers > 1 else ''} of 1 thread, {dtype}"


def ratios(medians: dict[str, float]) -> dict[str, float]:
    peer = max(value for name, value in medians.items() if name.startswith(PER_IMAGE))
    two = {dtype: medians[workers_label(2, dtype)] for dtype in DTYPES}
    return {
        "model_share_of_build": statistics.median(MODEL_SHARES[1:]),
        "build_vs_per_image_script": two["float32"] / peer,
        "bfloat16_build_vs_per_image_script": two["bfloat16"] / peer,
        "build_vs_bare_loop": two["float32"] / medians[BARE_2],
        "one_process_vs_bare_loop": medians[BUILD] / medians[BARE],
        "one_process_vs_stock_batched": medians[BUILD] / medians[BATCHED],
        **{f"two_workers_vs_one_{dtype}": two[dtype] / medians[workers_label(1, dtype)] for dtype in DTYPES},
    }


def machine() -> dict[str, object]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "transformers")}
    return {
        **versions,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=768, help="whole batches of 32; a 32nd for the script")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    recipe = load(RECIPE)
    if given.bare:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            script = Script(recipe, read_inputs(recipe, Path(name), limit=1), "float32")
        bare(script, BATCH)
        print(rate(lambda _: bare(script, given.images), given.images))
        return
    # Whatever is imported late, is imported now.
    rate(partial(build, recipe, 1), 1)
    running = contenders(recipe, given.images)
    rates: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(given.rounds):
        for name, run in running.items():
            rates[name].append(run())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    if given.json:
        print(json.dumps({"ratios": ratios(medians), "images_per_second": rates, "machine": machine()}))
        return
    for name, values in rates.items():
        print(f"{name:40}{medians[name]:8.2f} images/s   ({', '.join(f'{v:.2f}' for v in values)})")
    print("\n".join(f"{name}: {value:.2f}" for name, value in ratios(medians).items()))
    print(machine())


if __name__ == "__main__":
    main()
