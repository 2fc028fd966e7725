"""A timm classifier that says how probable each class is for an image; filters ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthkit.errors import GeneratorError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.recipe.filters import ClassifierConfig


class Classified(NamedTuple):
    """What a network says of N images: (N, C) float32 of each."""

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class Classifier:
    """A network with weights from a safetensors file; `section` is the dotted name of its settings.

    Raises GeneratorError if the weights are not those whose SHA-256 the recipe states, or do not fit.
    """

    def __init__(
        self, section: str, config: ClassifierConfig, classes: int, batch_size: int, device: str
    ) -> None:
        import timm
        import torch
        from safetensors.torch import load_file

        where, content = f"{section}: {config.checkpoint}", config.content(section)
        if content != (config.sha256 or content):
            raise GeneratorError(f"{where}: has sha256 {content[:16]}…, not the recipe's: other weights")
        try:
            network: Any = timm.create_model(config.network, pretrained=False, num_classes=classes)
            network.load_state_dict(load_file(config.path))
        except Exception as error:
            # timm, torch and safetensors fail in ways of their own; the cause is kept.
            reason = one_line(error)
            raise GeneratorError(
                f"{where}: is not a {config.network} of {classes} classes: {reason}"
            ) from error
        data = timm.data.resolve_model_data_config(network)
        self._transform: Any = timm.data.create_transform(**data, is_training=False)
        self._network = network.eval().to(device)
        self._batch_size, self._device, self._torch = batch_size, device, torch
        self._where = where

    def classify(self, images: Sequence[Image.Image]) -> Classified:
        """Return what the network says of at most a batch of RGB images.

        It always sees a full batch, so that what it says of an image does not depend on the others. Raises
        GeneratorError if that is no numbers.
        """
        padded = [*images, *[images[-1]] * (self._batch_size - len(images))]
        pixels = self._torch.stack([self._transform(image) for image in padded]).to(self._device)
        with self._torch.no_grad():
            logits = self._network(pixels).float()
        probabilities = self._torch.softmax(logits, dim=1)
        found = Classified(*(part.cpu().numpy()[: len(images)] for part in (logits, probabilities)))
        if not np.isfinite(found.logits).all():
            raise GeneratorError(f"{self._where}: what it says of an image is no numbers")
        return found
