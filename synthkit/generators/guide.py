"""A classifier that guides sampling (`sampler.feedback`): a timm network as a function with a gradient.

It is shown images as timm prepares files for it. They are resized by products of matrices: PyTorch's own
resizing has no gradient on a GPU that is the same twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import GeneratorError, nearest, one_line
from synthkit.recipe.feedback import SECTION
from synthkit.system.files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from synthkit.recipe.feedback import FeedbackClassifier


# The means of red, green and blue, and their deviations.
_COLOURS = 6
# Letters of what a file says of its network; those that synthkit writes have some hundred.
_MOST = 5_000


class Guide:
    """A network with what prepares images for it; its weights take no gradient."""

    def __init__(self, network: Any, config: FeedbackClassifier, device: str) -> None:
        import timm
        import torch

        data = timm.data.resolve_model_data_config(network)
        self.network = network.to(device)
        self.size = config.size or int(data["input_size"][-1])
        # The share of an image that is seen. Whoever names a size means images that are seen whole.
        self._seen = 1.0 if config.size else float(data["crop_pct"])
        self.mean, self.std = data["mean"], data["std"]
        self._mean, self._std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (self.mean, self.std)
        )
        self.device = device
        self._resizing: dict[int, torch.Tensor] = {}

    def frozen(self) -> Guide:
        """Set it for use: what it says of an image depends on nothing else."""
        self.network.eval().requires_grad_(False)
        return self

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, C) float32 logits of square images, (N, 3, E, E) float32 in [0, 1]."""
        logits: torch.Tensor = self.network(self.prepared(images))
        return logits.float()

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """Return images as the network takes them: resized, and each colour to its mean and deviation."""
        edge = images.shape[-1]
        if edge not in self._resizing:
            self._resizing[edge] = _tensor(resizing(edge, self.size, self._seen), self.device)
        rows = self._resizing[edge]
        return (rows @ images @ rows.T - self._mean) / self._std


def resizing(edge: int, size: int, seen: float = 1.0) -> NDArray[np.float32]:
    """Return the (size, edge) matrix that makes `size` pixels of the middle share `seen` of `edge`.

    Bilinear interpolation; where pixels become fewer, over as many as become one.
    """
    step = seen * edge / size
    centres = edge / 2 + (np.arange(size) + 0.5 - size / 2) * step
    distances = np.abs(np.arange(edge) + 0.5 - centres[:, None]) / max(step, 1.0)
    weights = np.maximum(0.0, 1.0 - distances)
    found: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def _tensor(values: NDArray[np.float32], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(values).to(device)


def new_guide(config: FeedbackClassifier, classes: int, device: str) -> Guide:
    """Return a network with weights drawn at random, by PyTorch's global generator.

    Raises GeneratorError if timm does not have it, or if it does not take images of the size.
    """
    import timm
    import torch

    if not timm.is_model(config.network):
        near = nearest(config.network, timm.list_models(), count=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else "; timm.list_models() lists them"
        raise GeneratorError(f"{SECTION}.network: timm has no {config.network!r}{hint}")
    try:
        network = timm.create_model(config.network, pretrained=False, num_classes=classes)
        guide = Guide(network, config, device)
        network.eval()
        with torch.no_grad():
            shape = tuple(network(torch.zeros(1, 3, guide.size, guide.size, device=device)).shape)
    except Exception as error:
        # timm and torch fail in ways of their own; the cause is kept.
        size = "" if config.size is None else f" of {config.size} pixels"
        raise GeneratorError(
            f"{SECTION}: {config.network} does not take images{size}: {one_line(error)}"
        ) from error
    if shape != (1, classes):
        raise GeneratorError(f"{SECTION}.network: {config.network} is no classifier: it gives {shape}")
    return guide


def _refuse_other_networks(guide: Guide, path: Path, name: str) -> None:
    """Raise GeneratorError for weights of another network, or of one that takes images prepared another way.

    `synthkit eval --weights` says how beside them; of other files nothing is known.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["about"][:_MOST])
        told = np.array([*facts["mean"], *facts["std"]], dtype=float)
        own, size = (facts["network"], facts["network_args"], facts["fits"]), facts["size"]
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, SafetensorError):
        # Nothing is known of it; if it is damaged, reading its weights says so.
        return
    if own != (name, {}, "timm"):
        is_of = f"{own[0]!s:.60} with network_args {own[1]!s:.60}, which fits {own[2]!s:.60}"
        raise GeneratorError(f"{SECTION}: {path}: is of {is_of}; a guiding network is timm's own {name}")
    if size != guide.size:
        raise GeneratorError(
            f"{SECTION}.size: {path} was trained on images of {size!s:.20} pixels; it is {guide.size}"
        )
    if told.shape != (_COLOURS,) or not np.allclose(told, [*guide.mean, *guide.std]):
        raise GeneratorError(
            f"{SECTION}: {path}: was trained on images of another mean and deviation than timm has for "
            f"{name}; train it with timm's own (images.mean, images.std)"
        )


def open_guide(config: FeedbackClassifier, path: Path, classes: int, device: str) -> Guide:
    """Return the classifier whose weights are in a file, ready to guide.

    Raises GeneratorError if they are not those of which the recipe states the SHA-256, or those of another
    network, or of another number of classes.
    """
    from safetensors.torch import load_file

    try:
        content = sha256_of(path)
    except OSError as error:
        raise GeneratorError(f"{SECTION}: {path}: {error.strerror or 'cannot be read'}") from None
    if content != (config.sha256 or content):
        raise GeneratorError(
            f"{SECTION}: {path}: has sha256 {content[:16]}…, not the recipe's: other weights"
        )
    guide = new_guide(config, classes, device)
    _refuse_other_networks(guide, path, config.network)
    try:
        guide.network.load_state_dict(load_file(path))
    except Exception as error:
        # safetensors and torch fail in ways of their own; the cause is kept.
        raise GeneratorError(
            f"{SECTION}: {path}: is not a {config.network} of {classes} classes: {one_line(error)}"
        ) from error
    return guide.frozen()
