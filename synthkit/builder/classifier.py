"""A timm classifier that says how probable each class is for an image; a quality gate asks it."""

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
    """A network with weights from a safetensors file.

    Raises GeneratorError if the weights are not those whose SHA-256 the recipe states, or do not fit.
    """

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
            raise GeneratorError(
                f"{where}: is not a {config.network} of {classes} classes: {reason}"
            ) from error
        data = timm.data.resolve_model_data_config(network)
        self._transform: Any = timm.data.create_transform(**data, is_training=False)
        self._network = network.eval().to(device)
        self._batch_size, self._device, self._torch = batch_size, device, torch

    def probabilities(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Return the class probabilities of at most a batch of RGB images, (N, C) float32.

        The network always sees a full batch, so that an image's probabilities do not depend on the others.
        """
        padded = [*images, *[images[-1]] * (self._batch_size - len(images))]
        pixels = self._torch.stack([self._transform(image) for image in padded]).to(self._device)
        with self._torch.no_grad():
            logits = self._network(pixels).float()
        found: NDArray[np.float32] = self._torch.softmax(logits, dim=1).cpu().numpy()
        return found[: len(images)]
