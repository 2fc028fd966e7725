"""The weights of a trained network, in the epoch that its score reports: a safetensors file with what it is.

The file holds the network that was tested, by the names that timm gives its parts, and as metadata what one
needs to use it: the network's name and arguments, the images that it takes, what it was trained on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from synthkit.system.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from synthkit_eval.training.task import Task

# The entry of the metadata that says what the network is, as JSON.
ABOUT = "about"
# Whether timm alone makes a network that these weights fit.
PLAIN = "timm"


def save_weights(path: Path, network: nn.Module, task: Task, seed: int) -> None:
    """Write a network's weights, whole or not at all; equal ones give the same bytes."""
    from safetensors.torch import save as to_bytes

    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    protocol = task.protocol
    facts = {
        "network": protocol.network,
        "network_args": protocol.network_args,
        "fits": PLAIN if _fits_timm(network, task) else f"the network of protocol {protocol.name}",
        "classes": task.classes,
        "size": protocol.images.size,
        "mean": protocol.images.mean,
        "std": protocol.images.std,
        "protocol": protocol.name,
        "protocol_digest": protocol.digest,
        "trained_on": "real and synthetic" if task.synthetic else "real",
        "seed": seed,
    }
    # One entry: safetensors writes several in an order of chance.
    write_file(path, to_bytes(tensors, {ABOUT: json.dumps(facts, sort_keys=True)}))


def _fits_timm(network: nn.Module, task: Task) -> bool:
    """Return whether timm's own network has the same parts: a small stem or another last layer is other."""
    import timm
    import torch

    protocol = task.protocol
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        own = timm.create_model(
            protocol.network, pretrained=False, num_classes=task.classes, **protocol.network_args
        )
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    # A stem without its pooling has no weights that tell of it.
    return not protocol.small_stem and shapes == {key: value.shape for key, value in own.state_dict().items()}
