"""A timm classifier as a judge of labels: its weights come from a safetensors file, named by its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthkit.errors import GeneratorError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from synthkit.recipe.filters import ClassifierConfig


class Classifier:
    """Class probabilities of images. Raises GeneratorError if the network or its weights do not fit."""

    def __init__(self, config: ClassifierConfig, classes: int, batch_size: int, device: str) -> None:
        import timm
        import torch
        from safetensors.torch import load_file

        where = f"filters.label_agreement.classifier: {config.checkpoint}"
        if config.content() != (config.sha256 or config.content()):
            raise GeneratorError(
                f"{where}: has sha256 {config.content()[:16]}…, not the recipe's: other weights"
            )
        try:
            network: Any = timm.create_model(config.network, pretrained=False, num_classes=classes)
            network.load_state_dict(load_file(config.path))
        except Exception as error:
            # timm, torch and safetensors fail in ways of their own; the cause is kept.
            reason = one_line(error)
            raise GeneratorError(f"{where}: is no {config.network} of {classes} classes: {reason}") from error
        data = timm.data.resolve_model_data_config(network)
        self._transform: Any = timm.data.create_transform(**data, is_training=False)
        self._network = network.eval().to(device)
        self._batch_size, self._device, self._torch = batch_size, device, torch

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(N, C) float32 of at most a batch of RGB images; padded, so that neighbours change nothing."""
        padded = [*images, *[images[-1]] * (self._batch_size - len(images))]
        pixels = self._torch.stack([self._transform(image) for image in padded]).to(self._device)
        with self._torch.no_grad():
            logits = self._network(pixels).float()
        found: NDArray[np.float32] = self._torch.softmax(logits, dim=1).cpu().numpy()
        return found[: len(images)]
