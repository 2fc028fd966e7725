"""Speed and numerics of the image generator on a GPU: every option of a recipe's `arithmetic`, one by one.

    python bench/gpu.py [--json FILE] [--seconds 420] [--only NAME,...] [--toy] [--list]

Stable unCLIP 2.1 at full size with random weights (no download), in synthkit's own generator. The peer
is the per-image script: the stock diffusers pipeline, one image at a time, everything encoded anew.
Numbers marked `estimated` come from the times of single steps and of decoding, the others from all 30
steps (31 evaluations). What does not fit in `--seconds` is skipped and named; FILE is rewritten after
every result. Without a GPU, or with --toy, a model of a few weights shows on the CPU that this works;
what is compiled runs there only where --only names it.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch  # noqa: TID253
from gpu_build import build_release
from gpu_measure import (
    STEPS,
    Configuration,
    Machine,
    Values,
    copy_rate,
    end_to_end,
    matmul_rate,
    per_image_script,
    speed,
)
from gpu_numerics import References, compare, compare_whole, options
from numpy.typing import NDArray
from unclip_model import FULL, TOY, build, tera_flops

from synthkit.errors import one_line
from synthkit.generators import arithmetic, batch_size, device_memory
from synthkit.generators.unclip import UnclipGenerator
from synthkit.recipe.arithmetic import Arithmetic
from synthkit.recipe.sampler import Sampler

GOALS = {"build_vs_per_image_script": 3, "fraction_of_matmul_rate": 0.5, "option_psnr_db": 40}


@dataclass
class Bench:
    """One run: what is left of the budget, and what has been found."""

    machine: Machine
    toy: bool
    budget: float
    file: Path | None
    started: float = field(default_factory=time.monotonic)
    results: Values = field(default_factory=dict)
    images: dict[str, NDArray[Any]] = field(default_factory=dict)
    references: References = field(default_factory=dict)

    def run(self, name: str, cost: float, work: Callable[[], Values]) -> None:
        """Do a piece of work and report it in one line; a failure is a line too."""
        elapsed = time.monotonic() - self.started
        if elapsed + (0 if self.toy else cost) > self.budget:
            found: Values = {"skipped": f"{elapsed:.0f} s used, needs {cost:.0f} s of {self.budget:.0f} s"}
        else:
            try:
                found = work()
            except Exception as error:
                found = {"error": f"{type(error).__name__}: {one_line(str(error), longest=300)}"}
            found["seconds"] = round(time.monotonic() - self.started - elapsed, 1)
        self.results[name] = found
        print(f"{name}: {json.dumps(rounded(found))}", flush=True)
        self.write()

    def write(self) -> None:
        """Rewrite the file, so that whatever stops the bench leaves what was found."""
        if self.file is not None:
            found = {"ratios": self.ratios(), "goals": GOALS, "results": self.results}
            self.file.write_text(json.dumps(found, indent=2) + "\n")

    def rate(self, name: str) -> float:
        """Images per second of a result; 0 if there is none."""
        return float(self.results.get(name, {}).get("images_per_second", 0.0))

    def ratios(self) -> Values:
        """Of the fastest configuration at the large edge that ran all steps, or else by estimate."""
        edge = self.machine.scale.edges[0]
        begins = (f"build {edge}", f"end-to-end {edge}")
        whole = [name for name in self.results if name.startswith(begins) and self.rate(name)]
        large = [name for name in self.results if name.startswith(f"{edge}") and self.rate(name)]
        best = max(whole or large, key=self.rate, default="")
        if not best:
            return {}
        script = self.rate("per-image script")
        return {
            "configuration": best,
            "images_per_second": self.rate(best),
            "build_vs_per_image_script": self.rate(best) / script if script else None,
            "fraction_of_matmul_rate": self.results[best].get("fraction_of_matmul_rate"),
            "option_psnr_db": self.lowest_psnr(),
        }

    def lowest_psnr(self) -> Values:
        """For each model and type, the option farthest from the stock pipeline in that type."""
        lowest: dict[str, tuple[float, str]] = {}
        for name, found in self.results.items():
            if found.get("psnr_same_dtype") is not None:
                model, dtype, option = name.split(" ", 2)
                now = (found["psnr_same_dtype"], option)
                lowest[f"{model} {dtype}"] = min(now, lowest.get(f"{model} {dtype}", now))
        return lowest

    def with_flops(self, found: Values, configuration: Configuration) -> Values:
        """Add operations per second, and their share of what the device's matrix products reach."""
        flops = self.results.get(f"flops {self.machine.edge(configuration)}", {}).get("image")
        matmul = self.results.get("device", {}).get(f"matmul_{configuration.dtype}_tflops")
        if flops:
            found["tflops"] = found["images_per_second"] * flops
            if matmul:
                found["fraction_of_matmul_rate"] = found["tflops"] / matmul
        return found

    def speed(self, configuration: Configuration, whole: int = 0) -> Values:
        """By single steps; with `whole`, then also so many whole batches, reported by themselves."""
        found, generator = speed(self.machine, configuration)
        self.with_flops(found, configuration)
        if whole:
            self.run(
                f"end-to-end {configuration.name}",
                configuration.batch * (whole + 1) / found["images_per_second"],
                lambda: self.whole(configuration, generator, whole),
            )
        return found

    def whole(self, configuration: Configuration, generator: UnclipGenerator, batches: int) -> Values:
        """All steps of so many batches, encoded at the small edge meanwhile."""
        edge = self.machine.scale.edges[1]
        found, images = end_to_end(self.machine, generator, configuration.batch, batches, edge)
        self.images[configuration.name] = images
        return self.with_flops(found, configuration)


def rounded(found: Values) -> Values:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=420.0)
    parser.add_argument("--only", default="", help="names, or their beginnings, separated by commas")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--list", action="store_true", help="name what would be measured")
    arguments = parser.parse_args()
    quieten()
    toy = arguments.toy or not torch.cuda.is_available()
    machine = Machine("cpu", TOY) if toy else Machine("cuda", FULL)
    bench = Bench(machine, toy, arguments.seconds, arguments.json)
    for task in chosen(tasks(bench), arguments.only, toy=toy):
        if arguments.list:
            print(f"{task.name} ({task.cost:.0f} s)")
        else:
            bench.run(task.name, task.cost, task.work)
    print(json.dumps({"ratios": rounded(bench.ratios())}), flush=True)


def quieten() -> None:
    """One line for each result, and nothing else."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity(logging.CRITICAL)
        library.disable_progress_bar()
    warnings.filterwarnings("ignore")


@dataclass(frozen=True)
class Task:
    """A piece of work, and the seconds that it may take on a GPU."""

    name: str
    cost: float
    work: Callable[[], Values]
    compiles: bool = False


def chosen(all_tasks: list[Task], only: str, *, toy: bool) -> list[Task]:
    names = tuple(name for name in only.split(",") if name)
    if names:
        return [task for task in all_tasks if task.name.startswith(("model", *names))]
    return [task for task in all_tasks if not (toy and task.compiles)]


def tasks(bench: Bench) -> list[Task]:
    """Return what is measured, the most important first."""
    machine = bench.machine
    scale, (large, small) = machine.scale, machine.scale.edges
    eager = Configuration(f"{large} eager", batch=2 if bench.toy else 16)
    best = replace(eager, name=f"{large} best")
    whole = replace(eager, name=f"{large} eager, whole")
    timed = replace(best, name=f"{large} best, kernels by the stopwatch")
    return [
        Task("device", 10, lambda: device_rates(machine)),
        Task(f"flops {large}", 10, lambda: tera_flops(scale, large, STEPS + 1)),
        Task("model", 30, lambda: make_model(machine)),
        Task("per-image script", 15, lambda: per_image_script(machine, 1 if bench.toy else 3)),
        *(speed_task(bench, item, 6) for item in eager_options(eager)),
        best_task(bench, best, 100, whole=2),
        Task(f"{timed.name} (if the best failed)", 100, lambda: instead(bench, best, timed), compiles=True),
        *numerics_tasks(bench, "random"),
        *numerics_tasks(bench, "embedded"),
        speed_task(bench, whole, 30, whole=1),
        Task("stock float32, whole", 20, lambda: compare_whole(machine, bench.images, eager)),
        best_task(bench, replace(best, name=f"{large} best float16", dtype="float16"), 90, whole=1),
        build_task(bench, replace(best, name=f"{large} best float16", dtype="float16")),
        build_task(bench, replace(best, name=f"{small} best float16", large=False, dtype="float16")),
        Task(f"flops {small}", 8, lambda: tera_flops(scale, small, STEPS + 1)),
        speed_task(bench, replace(eager, name=f"{small} eager", large=False), 6),
        best_task(bench, replace(best, name=f"{small} best", large=False), 80, whole=1),
        *compiled_numerics(bench),
        Task("batch size auto", 25, lambda: auto_size(bench)),
        *(
            speed_task(bench, replace(eager, name=f"{eager.name} batch {n}", batch=n), 9)
            for n in (1, 8, 32, 4)
        ),
        speed_task(bench, replace(best, name=f"{large} compile", arithmetic=Arithmetic(compile=True)), 80),
        Task(timed.name, 90, lambda: by_stopwatch(bench, timed), compiles=True),
        Task(f"{large} best batch 1, CUDA graphs", 90, lambda: cuda_graphs(bench, best), compiles=True),
    ]


def best_arithmetic(bench: Bench) -> Arithmetic:
    """All that should be fastest together, with the attention that was, of those measured by themselves."""
    eager = f"{bench.machine.scale.edges[0]} eager"
    rates = {kernel: bench.rate(f"{eager} {kernel}") for kernel in ("cudnn", "flash")}
    rates["sdpa"] = bench.rate(eager)
    measured = max(rates, key=rates.__getitem__)
    usual = "cudnn" if bench.machine.gpu else "sdpa"
    attention = measured if rates[measured] else usual
    return Arithmetic.model_validate({"channels_last": True, "compile": True, "attention": attention})


def eager_options(eager: Configuration) -> list[Configuration]:
    """One change at a time, nothing compiled."""
    changes: dict[str, Arithmetic] = {
        "cudnn": Arithmetic(attention="cudnn"),
        "flash": Arithmetic(attention="flash"),
        "channels_last": Arithmetic(channels_last=True),
        "cudnn channels_last": Arithmetic(attention="cudnn", channels_last=True),
        "efficient": Arithmetic(attention="efficient"),
        "fused_projections": Arithmetic(fused_projections=True),
        "vae_slicing": Arithmetic(vae_slicing=True),
    }
    changed = [
        replace(eager, name=f"{eager.name} {name}", arithmetic=change) for name, change in changes.items()
    ]
    return [eager, *changed, replace(eager, name=f"{eager.name} float16", dtype="float16")]


def speed_task(bench: Bench, item: Configuration, cost: float, whole: int = 0) -> Task:
    return Task(item.name, cost, lambda: bench.speed(item, whole), compiles=item.arithmetic.compile)


def best_task(bench: Bench, item: Configuration, cost: float, whole: int = 0) -> Task:
    """Return the measurement of the options that were fastest, chosen when its turn comes."""
    return Task(
        item.name,
        cost,
        lambda: bench.speed(replace(item, arithmetic=best_arithmetic(bench)), whole),
        compiles=True,
    )


def build_task(bench: Bench, item: Configuration) -> Task:
    """Return the measurement of a whole build with the options that were fastest; a toy is not compiled."""

    def work() -> Values:
        changes = Arithmetic() if bench.toy else best_arithmetic(bench)
        dtype = "float32" if bench.toy else item.dtype
        found = build_release(bench.machine, replace(item, arithmetic=changes, dtype=dtype), batches=8)
        return bench.with_flops(found, item)

    return Task(f"build {item.name}", 120, work)


def numerics_tasks(bench: Bench, model: str) -> list[Task]:
    """Each option by itself, in each type."""
    dtypes = ("float32", "bfloat16", "float16") if bench.machine.gpu else ("float32",)
    return [
        Task(
            f"{model} {dtype} {name}",
            2,
            lambda d=dtype, o=option: compare(bench.machine, bench.references, model, d, o),
        )
        for dtype in dtypes
        for name, option in options(dtype).items()
    ]


def compiled_numerics(bench: Bench) -> list[Task]:
    """Return the numerical checks of compiled models: of the embedded one, which compiles soonest."""

    def work(dtype: str) -> Values:
        alone = Arithmetic(compile=True)
        option = alone if dtype == "float32" else best_arithmetic(bench)
        return compare(bench.machine, bench.references, "embedded", dtype, option)

    return [
        Task(f"embedded {dtype} compile", 45, lambda d=dtype: work(d), compiles=True)
        for dtype in ("float32", "bfloat16")
    ]


def device_rates(machine: Machine) -> Values:
    name = torch.cuda.get_device_name() if machine.gpu else "cpu"
    found: Values = {"name": name, "torch": torch.__version__}
    dtypes = (torch.bfloat16, torch.float16) if machine.gpu else (torch.bfloat16, torch.float32)
    for dtype in dtypes:
        key = f"matmul_{str(dtype).removeprefix('torch.')}_tflops"
        found[key] = matmul_rate(machine.device, machine.scale.matmul, dtype)
    found["copy_gb_per_second"] = copy_rate(machine.device, machine.scale.matmul // 2)
    return found


def make_model(machine: Machine) -> Values:
    machine.master = build(machine.scale, machine.device)
    parts = ("unet", "vae", "text_encoder", "image_encoder")
    return {
        f"{part}_million_weights": round(
            sum(p.numel() for p in getattr(machine.master, part).parameters()) / 1e6, 1
        )
        for part in parts
    }


def auto_size(bench: Bench) -> Values:
    machine = bench.machine
    machine.clear()
    if not machine.gpu:
        return {"batch_size": batch_size.ON_CPU}
    pipeline = machine.pipeline("bfloat16", machine.scale.edges[0])
    plain = best_arithmetic(bench).model_copy(update={"compile": False})
    generator = UnclipGenerator(pipeline, sampler=Sampler(), arithmetic=plain)
    return {"batch_size": device_memory.largest_batch(generator, Sampler(), machine.device)}


def instead(bench: Bench, best: Configuration, timed: Configuration) -> Values:
    """Measure a compiled model with kernels chosen by timing, if the one without has failed."""
    if "error" not in bench.results.get(best.name, {}):
        return {"not_needed": True}
    return by_stopwatch(bench, timed, whole=1)


def by_stopwatch(bench: Bench, timed: Configuration, whole: int = 0) -> Values:
    """Measure what it costs that kernels are not chosen by timing, which could change bytes between runs."""
    by_rule = arithmetic.inductor_options
    arithmetic.inductor_options = dict
    try:
        return bench.speed(replace(timed, arithmetic=best_arithmetic(bench)), whole)
    finally:
        arithmetic.inductor_options = by_rule


def cuda_graphs(bench: Bench, best: Configuration) -> Values:
    """Where launching the kernels takes longer than running them: one image at a time."""
    from torch._inductor import config

    with config.patch({"triton.cudagraphs": True}):
        one = replace(best, name=f"{best.name} batch 1, CUDA graphs", batch=1)
        return bench.speed(replace(one, arithmetic=best_arithmetic(bench)))


if __name__ == "__main__":
    main()
