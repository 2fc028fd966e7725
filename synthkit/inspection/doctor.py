"""Examine what this machine offers a build, and what would stop one."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from synthkit.system.environment import LIBRARIES, device_name, memory_of
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ALSO = ("datasets", "webdataset", "huggingface-hub", "pydantic", "typer")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, and what was found. With the verdict `stop`, a build would stop."""

    what: str
    found: str
    verdict: Literal["ok", "note", "stop"] = "ok"


def examine(out: Path) -> Iterator[Check]:
    """Yield a finding on everything a build depends on, whatever its recipe; `out` is where releases go."""
    yield Check("synthkit", __version__)
    yield Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _libraries()
    yield from _devices()
    yield _write_access(out)
    yield _disk(out)
    yield _embedded_model()


def _libraries() -> Iterator[Check]:
    for name in (*LIBRARIES, *_ALSO):
        try:
            yield Check(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "not installed: pip install synthkit again", "stop")


def _devices() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check("device", f"torch cannot be imported: {error}", "stop")
        return
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    yield Check("cpu", f"{cores}, {device_name('cpu')}")
    yield Check("memory", f"{memory_of('cpu') / 2**30:.1f} GiB")
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield Check(f"cuda:{index}", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")
    if not torch.cuda.is_available():
        yield Check("gpu", "none that torch can use; full-size models will be very slow", "note")


def _write_access(out: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=existing(out)):
            return Check("write access", f"{out}: yes")
    except OSError as error:
        return Check("write access", f"{out}: no ({error.strerror}); choose another --out", "stop")


def _disk(out: Path) -> Check:
    free = shutil.disk_usage(existing(out)).free
    return Check("disk", f"{free / 1e9:,.1f} GB free at {out}", "ok" if free > 1e9 else "note")


def existing(path: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _embedded_model() -> Check:
    from synthkit.generators.checkpoint import BUILTIN

    name, folder = next(iter(BUILTIN.items()))
    if (folder / "model_index.json").is_file():
        return Check("embedded model", f"builtin:{name}")
    return Check(
        "embedded model", f"builtin:{name} is missing from {sys.prefix}: install synthkit again", "stop"
    )
