"""A family of generators that a package brings: colours, for a base with an adapter and an encoder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
from safetensors.numpy import save

from synthkit.generators.flat import FlatColours

ENTRY_POINTS = """\
[synthkit.generators]
Pieced.ip-adapter = tests.helpers.pieced_colours:PiecedColours
"""
INDEX = {"_class_name": "Pieced", "size": 32, "unet": ["diffusers", "UNet2DConditionModel"]}
UNET = "unet/diffusion_pytorch_model.safetensors"
BASE = {"model_index.json": json.dumps(INDEX).encode(), "unet/config.json": b"{}", UNET: b"weights" * 9}
PLAIN = save({"image_proj.proj.weight": np.zeros((2, 2), np.float32)})
OTHER = save({"lora_unet_down.weight": np.zeros((2, 2), np.float32)})
ADAPTERS = {
    "models/plain.safetensors": PLAIN,
    "models/other.safetensors": OTHER,
    "models/plain.bin": b"pickle",
    "models/image_encoder/config.json": b"{}",
    "models/image_encoder/model.safetensors": b"encoder",
    "models/image_encoder/pytorch_model.bin": b"pickle",
    "models/image_processor/preprocessor_config.json": b"{}",
    "pickled/image_encoder/config.json": b"{}",
    "pickled/image_encoder/pytorch_model.bin": b"pickle",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
}
FEW_STEPS = {"few_4step.safetensors": b"few" * 9, "few_4step.pt": b"pickle"}


class PiecedColours(FlatColours):
    """As FlatColours, but of pieces."""

    NEEDS: ClassVar[tuple[str, ...]] = ("adapter", "encoder")
    MAY_HAVE: ClassVar[tuple[str, ...]] = ("unet",)


def installed(folder: Path) -> str:
    """As if a package that brings the family were installed; returns the PYTHONPATH with it."""
    facts = folder / "pieced_colours-1.5.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: pieced-colours\nVersion: 1.5\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
