"""The networks that are trained: timm's, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import ScoreError, nearest, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from synthkit_eval.protocol import Protocol


def check_network(name: str) -> None:
    """Raise ScoreError with the nearest names if timm has no such network."""
    import timm

    if timm.is_model(name):
        return
    # timm writes all names in small letters.
    near = nearest(name.lower(), timm.list_models(), count=3, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else "; timm.list_models() lists them"
    raise ScoreError(f"network: timm has no {name!r}{hint}")


def make_network(protocol: Protocol, classes: int) -> nn.Module:
    """Return the network of a protocol with a last layer for so many classes, on the CPU.

    If the protocol trains only the last layer, no other weight requires a gradient. Raises ScoreError if
    timm does not take the arguments, the weights cannot be had, or images of this size do not fit.
    """
    import timm

    from synthkit_eval.training.last_layer import last_layer, use_cosines

    check_network(protocol.network)
    try:
        network: Any = timm.create_model(
            protocol.network,
            pretrained=protocol.pretrained is True,
            num_classes=classes,
            **protocol.network_args,
        )
    except Exception as error:
        # timm, torch and the Hub's client raise errors of many types.
        reason = one_line(error)
        raise ScoreError(f"network: {protocol.network}: {reason}{_advice(protocol, reason)}") from error
    if protocol.small_stem:
        _shrink_stem(network, protocol.network)
    if protocol.loss == "ldam-drw":
        use_cosines(network, protocol.ldam_drw.scale)
    if isinstance(protocol.pretrained, str):
        _load_weights(network, protocol.pretrained)
    _try(network, protocol, classes)
    if protocol.trained == "last-layer":
        network.requires_grad_(False)
        last_layer(network).requires_grad_(True)
    return network  # type: ignore[no-any-return]


def _try(network: Any, protocol: Protocol, classes: int) -> None:
    """Raise ScoreError if two images do not pass: not every network takes images of every size."""
    import torch

    edge = protocol.images.size
    try:
        with torch.no_grad():
            shape = tuple(network.eval()(torch.zeros(2, 3, edge, edge)).shape)
    except Exception as error:
        reason = one_line(error)
        raise ScoreError(
            f"network: {protocol.network} does not take images of {edge} pixels: {reason}; "
            "set images.size, or network_args as it needs them (img_size)"
        ) from error
    if shape != (2, classes):
        raise ScoreError(f"network: {protocol.network} gives {shape} for 2 images of {classes} classes")


def begin_training(network: nn.Module, protocol: Protocol) -> None:
    """Set training mode, in frozen layers evaluation mode: their statistics stay, and they drop nothing.

    With `frozen_statistics: updated` their batch normalisation trains as if they were not frozen.
    """
    from synthkit_eval.training.last_layer import last_layer

    if protocol.trained == "all":
        network.train()
        return
    network.eval()
    last_layer(network).train()
    if protocol.frozen_statistics == "updated":
        for layer in _normalisations(network):
            layer.train()


def _normalisations(network: nn.Module) -> Iterator[nn.Module]:
    from torch.nn.modules.batchnorm import _BatchNorm

    return (layer for layer in network.modules() if isinstance(layer, _BatchNorm))


def _advice(protocol: Protocol, reason: str) -> str:
    if "unexpected keyword" in reason:
        return f"; network_args are {protocol.network_args}; clear them with --set network_args={{}}"
    if protocol.pretrained is True:
        return (
            "; its weights come from the Hub once: go online, or give a safetensors file: "
            "--set pretrained=weights.safetensors"
        )
    return ""


def _shrink_stem(network: Any, name: str) -> None:
    """Replace the stem by a 3x3 convolution without stride or pooling (He et al. 2016, section 4.2).

    Raises ScoreError if the network is not a ResNet.
    """
    from torch import nn

    first, pooling = getattr(network, "conv1", None), getattr(network, "maxpool", None)
    if not isinstance(first, nn.Conv2d) or pooling is None:
        raise ScoreError(f"small_stem: {name} is not a ResNet with a plain stem; set small_stem=false")
    network.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()


def _load_weights(network: nn.Module, file: str) -> None:
    """Load all weights but the last layer's from a safetensors file. Raises ScoreError if they do not fit."""
    from safetensors.torch import load_file

    from synthkit_eval.training.last_layer import last_layer

    if not Path(file).is_file():
        raise ScoreError(f"pretrained: there is no file {file}")
    last = {value.data_ptr() for value in last_layer(network).state_dict().values()}
    replaced = {key for key, value in network.state_dict().items() if value.data_ptr() in last}
    try:
        weights = {key: value for key, value in load_file(file).items() if key not in replaced}
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except Exception as error:
        # torch and safetensors fail in ways of their own; the cause is kept.
        reason = one_line(error)
        raise ScoreError(f"pretrained: {file}: does not fit the network: {reason}") from error
    wrong = [key for key in missing if key not in replaced] + list(unexpected)
    if wrong:
        raise ScoreError(f"pretrained: {file}: does not fit the network: {', '.join(wrong[:3])}")
