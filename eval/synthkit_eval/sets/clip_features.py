"""CLIP's image encoder with its projection (Radford et al. 2021) as a feature space."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from synthkit.generators.checkpoint import BUILTIN
from synthkit.generators.model_hashes import content_revision
from synthkit_eval.sets.feature_weights import check_complete, fetch_weights, loading, unavailable
from synthkit_eval.sets.features import Encoder


def open_builtin(spec: str, name: str, device: str, batch_size: int) -> Encoder:
    """Load the image encoder of an embedded model: f(x), as `Generator.embed_images` gives it."""
    folder = BUILTIN[name]
    parts = (folder / "image_encoder", folder / "feature_extractor")
    return _encoder(spec, spec, *parts, device=device, batch_size=batch_size)


def open_clip(spec: str, place: str, device: str, batch_size: int) -> Encoder:
    """Load the image encoder of a CLIP in a folder or in a repository of the Hub.

    Raises ScoreError if there is none, or it is not a CLIP in safetensors.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        name = f"clip:{folder.resolve().name}@{content_revision(folder)[:12]}"
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", place):
        folder = fetch_weights(spec, place, ("config.json", "preprocessor_config.json", "model.safetensors"))
        name = f"{spec}@{folder.name[:12]}"
    else:
        raise unavailable(spec, "there is no such folder, and a Hub repository is organisation/name")
    return _encoder(spec, name, folder, folder, device=device, batch_size=batch_size)


def _encoder(
    spec: str, name: str, encoder: Path, processor: Path, *, device: str, batch_size: int
) -> Encoder:
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
    from transformers.utils import logging as transformers_logging

    # The error that is raised says what is wrong; warnings before it would be noise.
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    local = {"local_files_only": True, "trust_remote_code": False}
    with loading(spec, "is not a CLIP image encoder in safetensors"):
        prepare: Any = CLIPImageProcessor.from_pretrained(processor, **local)
        network, found = CLIPVisionModelWithProjection.from_pretrained(
            encoder,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **local,
        )
        check_complete([*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])])
        network = network.eval().to(device)
    return Encoder(
        name,
        int(network.config.projection_dim),
        lambda images: prepare(images=images, return_tensors="pt").pixel_values,
        lambda pixels: network(pixels).image_embeds,
        device,
        batch_size,
    )
