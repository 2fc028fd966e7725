"""Time of an evaluation and of a decoding of every family's full-size networks on a GPU, random weights.

    python bench/families.py [--device cuda] [--batch 16] [--json FILE] [--toy]

The networks are those whose operations bench/flops.py counts. Speed does not depend on the weights, so there
is no download. Images/s are computed: evaluations times their time, and decoding. The peer is the card
itself: the share of its own matrix rate, an 8192-cubed product in the same run. `--toy` runs the embedded
models' network alone, on a CPU, to show that this works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from diffusers import VQModel  # noqa: TID253
from flops import FLUX, KANDINSKY, SD15, SDXL, TINY, UNCLIP, Way, measure
from torch import Tensor  # noqa: TID253

WAYS = [
    Way("Stable unCLIP 2.1, pndm 30", UNCLIP, 768, 31, guided=True),
    Way("Stable unCLIP 2.1, dpm-solver++ 10", UNCLIP, 512, 10, guided=True),
    Way("SD 1.5 + IP-Adapter, pndm 30", SD15, 512, 31, guided=True),
    Way("SDXL-Lightning + IP-Adapter, 4 steps", SDXL, 1024, 4, guided=False),
    Way("Kandinsky 2.2, ddpm 25", KANDINSKY, 512, 25, guided=True),
    Way("FLUX.1-schnell + Redux, 4 steps", FLUX, 1024, 4, guided=False),
]
TOY = [Way("the embedded models, pndm 30", TINY, 32, 31, guided=True)]
_REPEATS = 5


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Return the median seconds of a call, after one that prepares the device."""
    call()
    found = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Return the TFLOP/s of a product of two random matrices."""
    edge = 8192 if device != "cpu" else 512
    one = torch.randn(edge, edge, device=device, dtype=dtype)
    return 2e-12 * edge**3 / seconds_of(lambda: one @ one, device)


@torch.no_grad()
def timed(way: Way, batch: int, device: str, dtype: torch.dtype) -> dict[str, float]:
    """Return the seconds of an evaluation of a batch, and of decoding it."""
    with torch.device(device):
        denoiser, decoder = (part().eval().to(dtype) for part in (way.family.denoiser, way.family.decoder))
        given = _filled(way.family.arguments(batch * (1 + way.guided), way.edge), dtype)
        latents = torch.randn(
            batch, way.family.channels, way.edge // way.family.factor, way.edge // way.family.factor
        ).to(dtype)
    more = {"force_not_quantize": True} if isinstance(decoder, VQModel) else {}
    return {
        "evaluation": seconds_of(lambda: denoiser(**given), device),
        "decoding": seconds_of(lambda: decoder.decode(latents, **more), device),
    }


def _filled(value: Any, dtype: torch.dtype) -> Any:
    """Return arguments with random numbers in place of what lay in memory."""
    if isinstance(value, dict):
        return {name: _filled(part, dtype) for name, part in value.items()}
    if isinstance(value, Tensor):
        return torch.rand_like(value).to(dtype)
    return value


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    device, dtype = ("cpu", torch.float32) if options.toy else (options.device, torch.bfloat16)
    rate = matrix_rate(device, dtype)
    print(
        f"matrix rate: {rate:.3g} TFLOP/s\n{'':38}{'edge':>5}{'TFLOP':>9}{'images/s':>10}{'of the rate':>12}"
    )
    rows = []
    for way in TOY if options.toy else WAYS:
        took = timed(way, options.batch, device, dtype)
        speed = options.batch / (way.evaluations * took["evaluation"] + took["decoding"])
        tera = measure(way)["image"]
        row = {"way": way.name, "edge": way.edge, **took, "tflop": tera, "images_per_second": speed}
        rows.append({**row, "of_matrix_rate": tera * speed / rate})
        share = rows[-1]["of_matrix_rate"]
        print(f"{way.name:38}{way.edge:5}{tera:9.3g}{speed:10.2f}{share:12.2f}", flush=True)
        if options.json:
            options.json.write_text(json.dumps({"matrix_rate": rate, "ways": rows}, indent=2) + "\n")
        if device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
