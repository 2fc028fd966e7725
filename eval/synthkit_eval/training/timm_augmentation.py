"""Augmentation by timm: RandAugment image by image, MixUp and CutMix minibatch by minibatch.

timm draws from the global random numbers of Python and NumPy. Here these begin at a given seed each time, so
that what comes out follows from the seed, the epoch and the place in it alone.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from PIL import Image
from timm.data.auto_augment import rand_augment_transform  # noqa: TID253
from timm.data.mixup import Mixup  # noqa: TID253

from synthkit_eval.sections.augment import MIXING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from synthkit_eval.protocol import Protocol
    from synthkit_eval.sections.images import Images


@contextmanager
def numbers_from(seed: int) -> Iterator[None]:
    """Let the global random numbers of Python and NumPy begin at a seed meanwhile."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class RandAugment:
    """Changes an image by a few operations, drawn from timm's fifteen with replacement.

    All of them become stronger with the magnitude. What comes in at a border has the protocol's mean colour.
    Source: Cubuk et al. 2020, RandAugment.
    """

    def __init__(self, protocol: Protocol) -> None:
        settings, images = protocol.randaugment, protocol.images
        self._change = rand_augment_transform(
            f"rand-m{settings.magnitude}-n{settings.layers}-p1-inc1",
            {"img_mean": _mean_colour(images), "translate_const": int(images.size * 0.45)},
        )

    def __call__(self, pixels: Tensor, seed: int) -> Tensor:
        """Return an image (3, H, W) uint8 as it is after its operations."""
        image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        with numbers_from(seed):
            changed = self._change(image)
        return torch.from_numpy(np.array(changed)).permute(2, 0, 1)


def image_change(protocol: Protocol) -> RandAugment | None:
    """Return what else changes each image of a protocol, if anything does."""
    return RandAugment(protocol) if protocol.augment == "randaugment" else None


def _mean_colour(images: Images) -> tuple[int, ...]:
    return tuple(round(255 * value) for value in images.mean)


class Mixture:
    """MixUp or CutMix of a minibatch with itself in reverse order, with one share λ for all of it.

    The last one of an odd number of images stays as it is. Several processes mix their own parts of a
    minibatch, with the same λ. Source: Zhang et al. 2018, mixup; Yun et al. 2019, CutMix.
    """

    def __init__(self, protocol: Protocol, classes: int) -> None:
        mixup, cutmix = (
            getattr(protocol, kind).alpha if protocol.augment == kind else 0.0 for kind in MIXING
        )
        # With `multi_label` and no smoothing timm mixes whatever weights of classes it is given.
        self._mix = Mixup(mixup, cutmix, label_smoothing=0.0, num_classes=classes, multi_label=True)

    def __call__(self, inputs: Tensor, targets: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Mix inputs (N, 3, H, W), in place, and the weights of their classes (N, C)."""
        even = len(inputs) - len(inputs) % 2
        with numbers_from(seed):
            _, mixed = self._mix(inputs[:even], targets[:even])
        return inputs, torch.cat([mixed, targets[even:]])
