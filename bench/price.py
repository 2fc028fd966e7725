"""What an image costs by each way to sample it, and how far it is from that of 31 evaluations.

    python bench/price.py [--images 64] [--rounds 3] [--device cpu] [--price 3] [--json FILE]
    python bench/price.py --model full --device cuda --dtype bfloat16 [--size 512]
    python bench/price.py --computed

Measured: the embedded model on this device (or, of random weights, Stable unCLIP 2.1 at full size),
embeddings of real digits, the same noise for all ways. The peer is diffusers' stock pipeline in the same
batches, pndm with 30 steps and guidance 2; all ways run in turn, several rounds, medians. Nothing else may
run.

    images/s         of the peer, and of synthkit's generator as a ratio to it
    GFLOP            of an image (synthkit/generators/operations.json)
    $ per 1,000      at a price for an hour of this device
    PSNR             to the generator's own images of 31 evaluations: mean over images, in dB. Ways that draw
                     noise at each step, or of another guidance, make other images on purpose

Computed, with `--computed`: the full-size networks of every family. Nothing runs: operations are counted on
networks that hold no numbers, and divided by a rate that a device is said to reach. (400 TFLOP/s is what an
H200 reached with Stable unCLIP, bench/README.md; another network may reach less.)
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch  # noqa: TID253
from diffusers import StableUnCLIPImg2ImgPipeline  # noqa: TID253
from numpy.typing import NDArray
from unclip_model import FULL, TOY, build

from synthkit.builder.inputs import read_inputs
from synthkit.builder.sampling_cost import RATE
from synthkit.generators import load
from synthkit.generators.checkpoint import locate
from synthkit.generators.model_files import linked
from synthkit.generators.operations import Network, network_of, networks, work_of
from synthkit.recipe.load import load as load_recipe
from synthkit.recipe.sampler import Sampler
from synthkit.recipe.schema import Recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "digits_lt_ecd.yaml"
BATCH = 32
# The edge that is told at 512 pixels as well.
_HALVED = 768
_INTERVAL = {"guidance_interval": [0.2, 0.7]}
_CADS = {"cads": {"tau1": 0.6, "tau2": 0.9, "scale": 0.25}}


def _fast(steps: int, scheduler: str = "dpm-solver++", **more: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "steps": steps, **more}


# The first is what the others are held against.
WAYS: dict[str, dict[str, Any]] = {
    "pndm 30": {},
    "dpm-solver++ 20": _fast(20),
    "dpm-solver++ 15": _fast(15),
    "dpm-solver++ 10": _fast(10),
    "dpm-solver++ 5": _fast(5),
    "unipc 10": _fast(10, "unipc"),
    "pndm 30, guidance 1": {"guidance_scale": 1.0},
    "pndm 30, guidance_interval [0.2, 0.7]": _INTERVAL,
    "pndm 30, cads": _CADS,
    "pndm 30, cache every 2": {"cache": {"every": 2}},
    "pndm 30, cache every 3": {"cache": {"every": 3}},
    "dpm-solver++ 10, guidance_interval [0.2, 0.7]": _fast(10, **_INTERVAL),
    "dpm-solver++ 10, cache every 2": _fast(10, cache={"every": 2}),
    "dpm-solver++ 10, guidance 1": _fast(10, guidance_scale=1.0),
    "dpm-solver++ 10, guidance 1, cache every 3": _fast(10, guidance_scale=1.0, cache={"every": 3}),
    "dpm-solver++ 5, guidance 1": _fast(5, guidance_scale=1.0),
}
# What each full-size network has: any scheduler, or its pipeline's own alone.
_KANDINSKY = {"scheduler": "ddpm", "steps": 25}
COMPUTED: dict[str, dict[str, dict[str, Any]]] = {
    "Stable unCLIP 2.1": WAYS,
    "Stable Diffusion 1.5": WAYS,
    "SDXL": {**WAYS, "Lightning, 4 steps": _fast(4, "euler-trailing", guidance_scale=1.0)},
    "Kandinsky 2.2": {
        "ddpm 25": _KANDINSKY,
        "ddpm 25, guidance 1": {**_KANDINSKY, "guidance_scale": 1.0},
        "ddpm 25, guidance_interval [0.2, 0.7]": {**_KANDINSKY, **_INTERVAL},
        "ddpm 25, cache every 2": {**_KANDINSKY, "cache": {"every": 2}},
        "ddpm 25, cache every 3": {**_KANDINSKY, "cache": {"every": 3}},
    },
    "FLUX.1-schnell": {"flow-euler 4": _fast(4, "flow-euler", guidance_scale=1.0)},
}


class Rows(NamedTuple):
    """What conditions images: (N, D) embeddings, and a prompt and a seed for each."""

    embeddings: NDArray[np.float32]
    prompts: list[str]
    seeds: list[int]

    def batches(self) -> list[Rows]:
        """Return them in batches."""
        starts = range(0, len(self.seeds), BATCH)
        return [Rows(*(part[start : start + BATCH] for part in self)) for start in starts]


def sampler_of(fields: dict[str, Any]) -> Sampler:
    """Return the sampler of a way."""
    return Sampler.model_validate({"guidance_scale": 2.0, "batch_size": BATCH, **fields})


def rows_of(recipe: Recipe, generator: Any, images: int) -> Rows:
    """Return the first planned images of a recipe, each with the embedding of its first real image."""
    with tempfile.TemporaryDirectory() as work:
        inputs = read_inputs(recipe, Path(work))
    planned = [inputs.plan.row(index) for index in range(images)]
    real = [inputs.real.load(row.sources[0]) for row in planned]
    prompts = [inputs.prompts.of(row.label, row.seed, None) for row in planned]
    return Rows(generator.embed_images(real), prompts, [row.seed for row in planned])


def recipe_of(model: str, folder: Path, changes: list[str]) -> Recipe:
    """Return the recipe of a model; one of random weights is made in a folder."""
    changes = [f"sampler.batch_size={BATCH}", *changes]
    if model != "embedded":
        scale = {"full": FULL, "toy": TOY}[model]
        build(scale, "cpu").save_pretrained(folder / model, safe_serialization=True)
        changes.append(f"model.id={folder / model}")
    return load_recipe(RECIPE, changes)


def stock(recipe: Recipe, device: str) -> Callable[[Rows], Any]:
    """Return what makes a batch by diffusers' pipeline, as it is."""
    with linked(locate(recipe.model).files) as folder:
        pipeline = StableUnCLIPImg2ImgPipeline.from_pretrained(
            folder, dtype=getattr(torch, recipe.model.dtype), use_safetensors=True, local_files_only=True
        ).to(device)
    pipeline.set_progress_bar_config(disable=True)
    size = recipe.sampler.size

    def make(rows: Rows) -> Any:
        return pipeline(
            prompt=rows.prompts,
            image_embeds=torch.from_numpy(rows.embeddings).to(device, pipeline.dtype),
            **({} if size is None else {"height": size, "width": size}),
            generator=[torch.Generator().manual_seed(seed) for seed in rows.seeds],
            num_inference_steps=30,
            guidance_scale=2.0,
            noise_level=0,
        )

    return make


def measure(recipe: Recipe, images: int, rounds: int, device: str, price: float) -> list[dict[str, Any]]:
    """Return a row for the peer and for each way, measured in turn."""
    checkpoint = locate(recipe.model)
    generator = load(checkpoint, recipe, device)
    rows = rows_of(recipe, generator, images)
    peer = stock(recipe, device)
    network = network_of(recipe.model, checkpoint)
    size = {} if recipe.sampler.size is None else {"size": recipe.sampler.size}
    # The first batch of a device also prepares it.
    peer(rows.batches()[0])
    seconds: dict[str, list[float]] = {name: [] for name in ("stock pipeline", *WAYS)}
    made: dict[str, NDArray[np.uint8]] = {}
    for _ in range(rounds):
        seconds["stock pipeline"].append(_timed(lambda: [peer(batch) for batch in rows.batches()])[0])
        for name, fields in WAYS.items():
            way = generator.resampled(sampler_of({**fields, **size}))
            taken, batches = _timed(lambda way=way: [way.generate(*batch) for batch in rows.batches()])
            seconds[name].append(taken)
            made[name] = np.concatenate(batches)
    return [
        {
            "way": name,
            "images_per_second": (rate := images / statistics.median(taken)),
            "ratio": statistics.median(seconds["stock pipeline"]) / statistics.median(taken),
            "tflop_per_image": work_of(sampler_of({**WAYS.get(name, {}), **size}), network).operations,
            "dollars_per_1000": 1000 / rate / 3600 * price,
            "psnr": psnr(made[name], made["pndm 30"]) if name in made else None,
        }
        for name, taken in seconds.items()
    ]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def psnr(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> float | None:
    """Return the mean PSNR of images in dB; None if they are equal."""
    errors = ((images.astype(np.float64) - others) ** 2).mean(axis=(1, 2, 3))
    if not errors.any():
        return None
    return float(np.mean(10 * np.log10(255**2 / np.maximum(errors, 1e-3))))


def compute(price: float, rate: float) -> list[dict[str, Any]]:
    """Return a row for each way of each full-size network, at its own edge and, of 768 pixels, at 512."""
    return [
        {"network": network.name, "way": way, "edge": edge, **_computed(network, fields, edge, price, rate)}
        for network in networks()
        for way, fields in COMPUTED.get(network.name, {}).items()
        for edge in [network.edge] + [512] * (network.edge == _HALVED)
    ]


def _computed(
    network: Network, fields: dict[str, Any], edge: int, price: float, rate: float
) -> dict[str, float]:
    operations = work_of(sampler_of({**fields, "size": edge}), network).operations or 0.0
    return {
        "tflop_per_image": operations,
        "images_per_second": rate / operations,
        "dollars_per_1000": 1000 * operations / rate / 3600 * price,
    }


def print_measured(rows: list[dict[str, Any]]) -> None:
    """Print what was measured."""
    print(f"{'':46}{'images/s':>9}{'ratio':>7}{'GFLOP':>9}{'$ per 1,000':>13}{'PSNR':>7}")
    for row in rows:
        far = "" if row["psnr"] is None else f"{row['psnr']:.1f}"
        print(
            f"{row['way']:46}{row['images_per_second']:9.1f}{row['ratio']:7.2f}"
            f"{1000 * (row['tflop_per_image'] or 0):9.2f}{row['dollars_per_1000']:13.4f}{far:>7}"
        )


def print_computed(rows: list[dict[str, Any]]) -> None:
    """Print what was computed."""
    print(f"{'':22}{'':46}{'edge':>5}{'TFLOP':>8}{'images/s':>10}{'$ per 1,000':>13}")
    for row in rows:
        print(
            f"{row['network']:22}{row['way']:46}{row['edge']:5}{row['tflop_per_image']:8.1f}"
            f"{row['images_per_second']:10.2f}{row['dollars_per_1000']:13.3f}"
        )


def main() -> None:
    """Print the rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=("embedded", "full", "toy"), default="embedded")
    parser.add_argument("--dtype", default="float32", help="float16 and bfloat16 need a GPU")
    parser.add_argument("--size", type=int, help="the edge that is generated, if not the model's own")
    parser.add_argument("--price", type=float, default=3.0, help="dollars for an hour of the device")
    parser.add_argument("--rate", type=float, default=RATE, help="TFLOP/s that the device reaches")
    parser.add_argument("--computed", action="store_true", help="the full-size networks; nothing runs")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    options = parser.parse_args()
    if options.computed:
        rows = compute(options.price, options.rate)
        print_computed(rows)
    else:
        changes = [f"model.dtype={options.dtype}"]
        changes += [] if options.size is None else [f"sampler.size={options.size}"]
        with tempfile.TemporaryDirectory() as folder:
            recipe = recipe_of(options.model, Path(folder), changes)
            rows = measure(recipe, options.images, options.rounds, options.device, options.price)
        print_measured(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
