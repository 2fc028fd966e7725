"""`synthkit build` itself on the model of bench/gpu.py: from photographs to a release folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from gpu_measure import Configuration, Machine, Values
from PIL import Image

ROOT = Path(__file__).parents[1]
CLASSES, REAL = 4, 16


def build_release(machine: Machine, configuration: Configuration, batches: int) -> Values:
    """Images per second of a build from its first batch to its last shard, and in all its seconds."""
    machine.clear()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipeline = machine.pipeline(configuration.dtype, machine.edge(configuration))
        pipeline.save_pretrained(folder / "model", safe_serialization=True)
        del pipeline
        machine.clear()
        photographs(folder / "real")
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(recipe_of(configuration, batches, machine.edge(configuration))))
        done = subprocess.run(
            [sys.executable, "-m", "synthkit", "build", "recipe.yaml", "--device", machine.device],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        if done.returncode:
            raise RuntimeError(done.stderr.splitlines()[-1] if done.stderr else "the build failed")
        log = next(folder.glob(".synthkit/*/build.jsonl")).read_text().splitlines()
        event = json.loads(log[-1])
        tars = sorted((folder / "releases" / "bench" / "data").glob("*.tar"))
        return {
            "images_per_second": event["images_per_second"],
            "images": event["images"],
            "bytes": sum(tar.stat().st_size for tar in tars),
            "estimated": False,
            "printed": done.stdout.splitlines()[0],
        }


def recipe_of(configuration: Configuration, batches: int, edge: int) -> dict[str, Any]:
    """Embed-CutMix-Dropout from photographs; JPEG of at most 512 pixels, as in the published recipes."""
    return {
        "name": "bench",
        "source": {"kind": "folder", "root": "real"},
        "prompt": "{name}",
        "synthetic_per_class": batches * configuration.batch // CLASSES,
        "model": {"id": "model", "dtype": configuration.dtype},
        "sampler": {"batch_size": configuration.batch, "guidance_scale": configuration.guidance},
        "arithmetic": configuration.arithmetic.model_dump(),
        "output": {"format": "jpeg", "size": min(edge, 512), "shard_size": 4 * configuration.batch},
    }


def photographs(folder: Path) -> None:
    """Noise in the size of ImageNet's photographs; what is in them changes no time."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        for number in range(REAL):
            path = folder / f"class{label}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)).save(path)
