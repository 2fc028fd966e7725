"""What a file of weights holds, by its header alone: names, types and shapes of tensors.

Source: the safetensors format: eight bytes with the header's length (little-endian), the header in JSON, the
tensors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from synthkit.errors import GeneratorError

if TYPE_CHECKING:
    from pathlib import Path

# The format's own limit.
_MAX_HEADER = 100_000_000
# Kinds of adapters by a tensor that no other kind has.
_KINDS = {"image_proj.proj.weight": "ip-adapter", "image_proj.latents": "ip-adapter-plus"}


class Tensor(NamedTuple):
    """The type and the shape of a tensor of a file."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path, key: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name. Raises GeneratorError, which begins with the recipe's key."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            raw = json.loads(stream.read(length) if length <= _MAX_HEADER else b"")
        return {name: _tensor(facts) for name, facts in raw.items() if name != "__metadata__"}
    except OSError as error:
        raise GeneratorError(f"{key}: {path.name} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise GeneratorError(f"{key}: {path.name} is no safetensors file, or a damaged one") from None


def adapter_kind(path: Path) -> str:
    """Return the kind of an adapter: `ip-adapter` or `ip-adapter-plus`.

    Raises GeneratorError for another kind.
    """
    names = read_header(path, "model.adapter.file")
    # The adapters for whole faces have a projection of more than one layer.
    for name, kind in _KINDS.items():
        if name in names:
            return kind
    raise GeneratorError(
        "model.adapter.file: is no adapter that synthkit runs; take a plain IP-Adapter or a plus one, as "
        "models/ip-adapter_sd15.safetensors of h94/IP-Adapter"
    )


def _tensor(facts: dict[str, object]) -> Tensor:
    dtype, shape = facts["dtype"], facts["shape"]
    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise TypeError
    return Tensor(dtype, tuple(int(edge) for edge in shape))
