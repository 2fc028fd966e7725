"""The environment of a build: the versions of libraries and the device, as far as they can change a byte."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import TYPE_CHECKING

from synthkit.errors import BuildError
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The libraries that take part in making or writing an image.
LIBRARIES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "safetensors",
    "numpy",
    "pillow",
    "pyarrow",
    "scikit-learn",
)
# The keys of the environment that a release states, in this order.
KEYS = ("device", "machine", "python", "synthkit", *LIBRARIES)
# The key of the package, with its version, whose code runs the model where synthkit's own does not.
FAMILY = "family"

# Bytes of weights up to which each worker on a CPU loads a model of its own, and the most such workers.
_SMALL_MODEL = 200_000_000
_MOST_ON_CPU = 8
_DEVICES = ("cpu", "cuda", "mps")
# The device where no model is run.
NO_DEVICE = "none"


def library_versions() -> dict[str, str]:
    """Return the installed version of every library in LIBRARIES."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def describe(device: str) -> dict[str, str]:
    """Return the environment that a release states; nothing in it says whose machine it is."""
    return {
        "device": device_name(device),
        "machine": platform.machine(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "synthkit": __version__,
        **library_versions(),
    }


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between two environments, in words."""
    return [
        f"{key} {before.get(key, 'none')} -> {now.get(key, 'none')}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]


def choose_device(wanted: str) -> str:
    """Return the device to use: for `auto` the first GPU if there is one, else the CPU.

    Raises BuildError for a device that is not here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        here = device.type in _DEVICES and torch.empty(1, device=device) is not None
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, ValueError):
        here = False
    if not here:
        raise BuildError(
            f"--device {wanted}: there is no such device here; `synthkit doctor` lists what there is"
        )
    return "cpu" if device.type == "cpu" else wanted


def memory_of(device: str) -> int:
    """Return the bytes of memory of a device: a GPU's own, else this machine's."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_device(wanted: str) -> None:
    """Raise BuildError for a device that is not here; called before any long work is done for it."""
    if wanted != "auto":
        choose_device(wanted)


def choose_devices(wanted: str, workers: int | None, *, model_bytes: int) -> list[str]:
    """Return a device for each worker: all GPUs in turn for `auto` and `cuda`, else the one that is wanted.

    Unless `workers` says how many there are, each GPU gets one. On a CPU a small model gets one for each
    core, since threads that share small arrays mostly wait for each other; a large model gets one in all.
    Raises BuildError for a device that is not here.
    """
    import torch

    device = choose_device(wanted)
    if device == "cpu" and model_bytes < _SMALL_MODEL:
        return [device] * (workers or min(torch.get_num_threads(), _MOST_ON_CPU))
    if device != "cuda":
        return [device] * (workers or 1)
    count = torch.cuda.device_count()
    return [f"cuda:{number % count}" for number in range(workers or count)]


def describe_all(devices: Sequence[str]) -> dict[str, str]:
    """Return the environment of several devices. Raises BuildError if they are of different kinds."""
    names = {device: device_name(device) for device in devices}
    if len(set(names.values())) > 1:
        told = ", ".join(f"{device} {name}" for device, name in names.items())
        raise BuildError(
            f"these devices can give different bits: {told}; choose like ones with CUDA_VISIBLE_DEVICES"
        )
    return describe(devices[0])


def device_name(device: str) -> str:
    """Return the kind of a device: 'cpu (AVX512)', 'cuda (NVIDIA H200)', 'none'."""
    if device == NO_DEVICE:
        return device
    import torch

    if device.startswith("cuda"):
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device == "cpu":
        return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    return device
