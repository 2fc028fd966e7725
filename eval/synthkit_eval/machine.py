"""What scores depend on, beside data and protocol: code, libraries, device and threads."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from synthkit.system import environment

# Libraries that training uses, beside those of a build.
_LIBRARIES = ("timm", "torchmetrics")
_MOST_CPUS = 16
# Edge in pixels up to which images need neither threads nor worker processes.
SMALL = 64


def cpus() -> int:
    """Return how many processors to use: those this process may use, and no more than help."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, _MOST_CPUS)


def choose_threads(edge: int, device: str) -> None:
    """Have PyTorch use one thread for small images on a CPU.

    More threads hardly help there, are slow where other work shares the cores, and make the last digits of a
    score depend on the number of cores.
    """
    import torch

    if device == "cpu" and edge <= SMALL:
        torch.set_num_threads(1)


def code_digest(*names: str) -> str:
    """Return the SHA-256 of the source of modules; a package stands for all modules in it.

    Modules are found by their dotted names, and not imported.
    """
    digest = hashlib.sha256()
    for name in names:
        for path in _sources(name):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _sources(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    path = Path(spec.origin)
    return sorted(path.parent.rglob("*.py")) if spec.submodule_search_locations else [path]


def describe(device: str, processes: int) -> dict[str, str]:
    """Return the environment that a score states; runs of another environment are not used again."""
    import torch

    found = environment.describe(device)
    found |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return found | {"threads": str(torch.get_num_threads()), "processes": str(processes)}


def commit() -> str:
    """Return the commit of this code, or else of the current folder; `none` if neither is in git.

    It ends in `-dirty` if a tracked file was changed.
    """
    git = shutil.which("git")
    for folder in (Path(__file__).parent, Path()) if git else ():
        command = [
            str(git),
            "-C",
            str(folder),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return done.stdout.strip()
    return "none"
