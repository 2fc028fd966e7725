"""What a model is: the SHA-256 over its files, wherever a copy of them lies.

The files of all its pieces make one folder, and their paths in it are part of what it is. A file that stands
alone in its repository (an adapter, other weights of the UNet) has one path there, whatever it was called.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Roles of files: of those that belong to no component, of the UNet, of an adapter, of an image encoder, and
# of what an encoder's repository has beside it and a family may load.
PIPELINE = "pipeline"
UNET = "unet"
ADAPTER = "adapter"
ENCODER = "image_encoder"
BESIDE_ENCODER = ("feature_extractor", "image_processor", "image_embedder")
# diffusers' name for weights in one file; of weights in several, an index names each.
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_SHARD = re.compile(r"[^/]*-[0-9]{5}-of-[0-9]{5}\.safetensors")


def content_sha256(files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of a model, from the path and the SHA-256 of each of its files.

    It is that of the lines `path sha256`, each ended by a newline, in the order of the paths.
    """
    lines = "".join(f"{path} {sha256}\n" for path, sha256 in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def loaded_path(role: str, path: str) -> str:
    """Return where a file lies in the folder that a model is loaded from, by its path in its repository."""
    name = path.rpartition("/")[2]
    if role == PIPELINE:
        return name
    if role == ADAPTER:
        return f"{ADAPTER}/{ADAPTER}.safetensors"
    if role == UNET and name.endswith(".safetensors") and not is_shard(name):
        return f"{UNET}/{_WEIGHTS}"
    return f"{role}/{name}"


def is_shard(name: str) -> bool:
    """Return whether a file, by its name, has only a part of a network's weights."""
    return _SHARD.fullmatch(name) is not None


def piece_of(role: str, path: str, pieces: Iterable[str]) -> str:
    """Return which piece of a model a file belongs to, by its role and its path in its repository.

    `pieces` are the names of the model's pieces, as in a recipe.
    """
    name = path.rpartition("/")[2]
    if role == ADAPTER:
        return "model.adapter"
    if role in (ENCODER, *BESIDE_ENCODER) and "model.encoder" in pieces:
        return "model.encoder"
    if role == UNET and name.endswith(".safetensors") and "model.unet" in pieces:
        return "model.unet"
    return "model"


def piece_sha256(piece: str, files: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 of one piece, from the paths and SHA-256 of its files.

    That of a single file is the file's, which the Hub shows beside it.
    """
    found = list(files)
    if piece in ("model.adapter", "model.unet") and len(found) == 1:
        return found[0][1]
    return content_sha256(found)
