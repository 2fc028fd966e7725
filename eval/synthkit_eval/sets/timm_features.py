"""Any network of timm, without its classifier, as a feature space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthkit.errors import nearest
from synthkit_eval.sets.feature_weights import check_complete, content_of, fetch_weights, loading, unavailable
from synthkit_eval.sets.features import Encoder


def open_timm(spec: str, rest: str, device: str, batch_size: int) -> Encoder:
    """Load a network; `rest` is its name in timm, and a colon and a file of weights where there is one.

    Raises ScoreError if timm has no such network, if its weights cannot be had or are another network's, or
    if it does not make a vector of an image.
    """
    import timm
    import torch

    name, _, file = rest.partition(":")
    _check_known(spec, name)
    network, weights = _from_file(spec, name, Path(file)) if file else _from_hub(spec, name)
    network = network.eval().to(device)
    data = timm.data.resolve_model_data_config(network)
    transform: Any = timm.data.create_transform(**data, is_training=False)
    with torch.inference_mode():
        shape = tuple(network(torch.zeros(1, *data["input_size"], device=device)).shape)
    if len(shape) != 2:
        raise unavailable(spec, f"gives {shape[1:]} for an image, not a vector")
    return Encoder(
        f"timm:{weights}",
        shape[1],
        lambda images: torch.stack([transform(image) for image in images]),
        network,
        device,
        batch_size,
    )


def _check_known(spec: str, name: str) -> None:
    import timm

    names = [*timm.list_models(), *timm.list_pretrained()]
    if name not in names:
        near = ", ".join(nearest(name, names, count=3, cutoff=0))
        raise unavailable(spec, f"timm has no such network; the nearest are {near}")


def _from_file(spec: str, name: str, path: Path) -> tuple[Any, str]:
    """Return a network with the weights of a safetensors file, and its name; a classifier is left out."""
    import timm
    from safetensors.torch import load_file

    path = path.expanduser()
    content = content_of(spec, path)
    with loading(spec, f"{path} holds no {name} in safetensors"):
        network: Any = timm.create_model(name, pretrained=False, num_classes=0)
        check_complete(network.load_state_dict(load_file(path), strict=False).missing_keys)
    return network, f"{name}:{path.name}@{content}"


def _from_hub(spec: str, name: str) -> tuple[Any, str]:
    """Return a network with timm's own weights in safetensors, and its name."""
    import timm

    about: Any = timm.models.get_pretrained_cfg(name)
    if about is None or not about.hf_hub_id:
        raise unavailable(spec, "timm has no weights of it on the Hub; name a file: timm:NETWORK:FILE")
    folder = fetch_weights(spec, about.hf_hub_id, ("model.safetensors",))
    weights = {"file": str(folder / "model.safetensors"), "custom_load": False}
    with loading(spec, f"the weights of {about.hf_hub_id} do not fit"):
        network = timm.create_model(name, pretrained=True, num_classes=0, pretrained_cfg_overlay=weights)
    return network, f"{about.architecture}.{about.tag}@{folder.name[:12]}"
