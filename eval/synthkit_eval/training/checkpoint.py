"""The state of a training run after an epoch, in one safetensors file, which cannot hold code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from synthkit.system.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer


def save(path: Path, network: nn.Module, optimizer: Optimizer, history: list[dict[str, Any]]) -> None:
    """Write the weights, the optimiser's state and the measurements of each epoch, whole or not at all."""
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {f"network.{key}": value for key, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items() if value is not None}
    # safetensors writes contiguous tensors only, and weights on a GPU lie in channels-last order.
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_file(path, to_bytes(plain, {"history": json.dumps(history)}))


def epochs_in(path: Path) -> int:
    """Return how many epochs a saved state has behind it; 0 if there is no usable file."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return len(json.loads(file.metadata()["history"]))
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return 0


def restore(path: Path, network: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Set network and optimiser as they were saved, and return the measurements of each epoch.

    Returns an empty list and changes nothing if there is no usable file.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            history: list[dict[str, Any]] = json.loads(file.metadata()["history"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError):
        return []
    prefix = "network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return history
