"""Which image encoder a model has, by the content of its files: several models may have the same one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from synthkit.recipe.model_content import ENCODER, loaded_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synthkit.generators.checkpoint import Checkpoint

# Keys of configurations that say who wrote the file, with what, and nothing about the network.
_PROVENANCE = frozenset(
    {"_name_or_path", "_commit_hash", "_diffusers_version", "transformers_version", "processor_class"}
)


def encoder_content(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of what a checkpoint's image encoder is; an empty text if it has no such files.

    Files count by their names and contents; of a configuration what it says counts.
    """
    parts = sorted((part for part in checkpoint.parts if part.role == ENCODER), key=lambda part: part.file)
    digest = hashlib.sha256()
    for part in parts:
        path = loaded_path(part.role, part.file)
        content = part.sha256
        if path.endswith(".json"):
            said = json.loads(checkpoint.files[path].read_text(encoding="utf-8"))
            content = json.dumps(without_provenance(said), sort_keys=True)
        digest.update(f"{path} {content}\n".encode())
    return digest.hexdigest() if parts else ""


def without_provenance(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration says about a network or an image processor."""
    return {key: value for key, value in configuration.items() if key not in _PROVENANCE}
