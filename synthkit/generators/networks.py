"""Networks of a folder that a family loads beside its pipeline: whole, from safetensors, without the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError
from synthkit.generators.base import component_config
from synthkit.recipe.model_content import BESIDE_ENCODER, ENCODER

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def load_network(network: Any, folder: Path, dtype: torch.dtype) -> Any:
    """Return a network of a class of diffusers or transformers from its folder.

    Raises GeneratorError if its file lacks weights: the libraries would take random numbers for them.
    """
    loaded, told = network.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    missing = sorted(told["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise GeneratorError(f"the weights in {folder.name} lack {missing[0]}{more} of {network.__name__}")
    return loaded


def stated(folder: Path, component: str, name: str) -> Any:
    """Return what the configuration of a component states under a name.

    Raises GeneratorError, with the field of the recipe that the component comes from, if it does not.
    """
    try:
        return component_config(folder, component)[name]
    except (OSError, ValueError, KeyError, TypeError):
        field = "model.encoder" if component in (ENCODER, *BESIDE_ENCODER) else "model.id"
        raise GeneratorError(
            f"{field}: {component}/config.json does not state {name}, so it is of another kind"
        ) from None
