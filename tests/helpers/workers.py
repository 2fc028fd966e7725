"""Builds by several processes: a recipe without a model that takes a while, and who works on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from synthkit.release.shards import finished
from tests.conftest import Cli

SHARDS = 12

# Large flat images: about a tenth of a second a shard, most of it spent on writing them.
FLAT = """\
name: flat
license: cc-by-4.0
source: {{kind: folder, root: real}}
synthetic_per_class: 80
model: {{id: "builtin:flat-colours"}}
sampler: {{batch_size: 4}}
output: {{size: {size}, shard_size: {shard_size}}}
"""


def flat_recipe(folder: Path, *, size: int = 256, shards: int = SHARDS) -> Path:
    """Real images of three classes, and a recipe of 240 images from them."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (folder / "real" / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "real" / name / f"{number}.png")
    path = folder / "flat.yaml"
    path.write_text(FLAT.format(size=size, shard_size=240 // shards))
    return path


def flat_cli(folder: Path, **how: int) -> Cli:
    """Commands in a folder that has the recipe."""
    folder.mkdir(exist_ok=True)
    flat_recipe(folder, **how)
    return Cli(folder)


def workers_of(pid: int) -> list[int]:
    """The worker processes that a build has now."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(") ", 1)[1].split()[1])
            command = status.with_name("cmdline").read_bytes()
        except (OSError, IndexError):
            continue  # It has ended meanwhile.
        if parent == pid and b"synthkit.builder.engines.process" in command:
            found.append(int(status.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished_shards(folder: Path) -> set[str]:
    """The names of the shards that are whole in a folder where something is built."""
    tars = folder.glob(".synthkit/flat-*/shards/*.tar")
    return {tar.name for tar in tars if finished(tar.parent, tar.name) is not None}


def leftovers(folder: Path) -> list[Path]:
    """Half-written files and drafts."""
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".draft")]
