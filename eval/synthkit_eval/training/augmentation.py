"""Augmentation: geometry image by image in the loader's processes, colours batch by batch on the device.

Every random number comes from a table of uniform numbers that the loader draws for a minibatch, so that an
image's augmentation depends only on the seed, the epoch and its place in the epoch.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch  # noqa: TID253 (nothing imports this module but training)
from torchvision.transforms.v2 import functional as tv  # noqa: TID253

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from synthkit_eval.sections.images import ColorJitter, Images

_ATTEMPTS = 10
_RATIO = (3 / 4, 4 / 3)
# Columns of the table: area and ratio for ten attempts, place, flip, rotation, three factors, their order.
_PLACE = 2 * _ATTEMPTS
_FLIP, _ROTATION, _FACTORS, _ORDER = _PLACE + 2, _PLACE + 3, _PLACE + 4, _PLACE + 7
COLUMNS = _ORDER + 1
# ITU-R 601-2 luma, as Pillow and torchvision turn colours to grey.
_GREY = (0.2989, 0.587, 0.114)
_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


class Box(NamedTuple):
    """A crop in pixels."""

    left: int
    top: int
    width: int
    height: int


def random_resized_box(
    width: int, height: int, scale: tuple[float, float], uniform: NDArray[np.float64]
) -> Box:
    """Return a crop of random area and aspect ratio, or after ten attempts the largest central one.

    It is torchvision's RandomResizedCrop (Szegedy et al. 2015), with `uniform` (COLUMNS,) in [0, 1) as the
    random numbers.
    """
    for attempt in range(_ATTEMPTS):
        area = width * height * _between(*scale, uniform[2 * attempt])
        ratio = math.exp(_between(math.log(_RATIO[0]), math.log(_RATIO[1]), uniform[2 * attempt + 1]))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = (
                int(u * (room + 1))
                for u, room in zip(uniform[_PLACE:_FLIP], (width - w, height - h), strict=True)
            )
            return Box(left, top, w, h)
    w = min(width, round(height * _RATIO[1]))
    h = min(height, round(width / _RATIO[0]))
    return Box((width - w) // 2, (height - h) // 2, w, h)


def training_pixels(pixels: Tensor, images: Images, uniform: NDArray[np.float64]) -> Tensor:
    """Turn an image (3, H, W) uint8 into the network's input in training: (3, size, size) uint8."""
    out = _cropped(pixels, images, uniform)
    if images.rotation:
        angle = _between(-images.rotation, images.rotation, uniform[_ROTATION])
        out = tv.rotate(out, angle, tv.InterpolationMode.BILINEAR)
    mirrored: Tensor = out.flip(-1) if images.flip and uniform[_FLIP] < 0.5 else out
    return mirrored


def _cropped(pixels: Tensor, images: Images, uniform: NDArray[np.float64]) -> Tensor:
    edge = [images.size, images.size]
    if images.crop == "random-resized":
        box = random_resized_box(pixels.shape[2], pixels.shape[1], images.scale, uniform)
        part = pixels[:, box.top : box.top + box.height, box.left : box.left + box.width]
        crop: Tensor = tv.resize(part, edge, antialias=True)
        return crop
    whole = _resized(pixels, edge)
    if images.crop == "none":
        return whole
    span = 2 * images.padding + 1
    left, top = (int(u * span) for u in uniform[_PLACE : _PLACE + 2])
    padded = torch.nn.functional.pad(whole, [images.padding] * 4)
    return padded[:, top : top + images.size, left : left + images.size]


def evaluation_pixels(pixels: Tensor, images: Images) -> Tensor:
    """Turn an image (3, H, W) uint8 into the network's input in testing: (3, size, size) uint8."""
    if images.evaluation_resize is None:
        return _resized(pixels, [images.size, images.size])
    resized = tv.resize(pixels, [images.evaluation_resize], antialias=True)
    middle: Tensor = tv.center_crop(resized, [images.size, images.size])
    return middle


def _resized(pixels: Tensor, edge: Sequence[int]) -> Tensor:
    same = list(pixels.shape[1:]) == list(edge)
    return pixels if same else tv.resize(pixels, list(edge), antialias=True)


class Colours:
    """Turns pixels into the network's input: colour jitter, if the protocol has it, and normalisation.

    Brightness, contrast and saturation are affine in a pixel's colour, its grey and the mean grey of the
    image. All three, in any order, and the normalisation therefore make one 3x3 matrix and one offset for an
    image. Values are clipped once at the end, where torchvision clips after each change.
    """

    def __init__(self, images: Images, device: str) -> None:
        self._jitter = images.color_jitter
        self._mean = torch.tensor(images.mean, device=device)
        self._std = torch.tensor(images.std, device=device)
        self._grey = torch.tensor(_GREY, device=device)
        # Black and white of each channel, as numbers: clipping to tensors is ten times slower on a CPU.
        self._range = [(-m / s, (1 - m) / s) for m, s in zip(images.mean, images.std, strict=True)]
        self._device = device
        self._numbers = torch.empty(0)

    def __call__(self, pixels: Tensor, uniform: NDArray[np.float64] | None = None) -> Tensor:
        """Turn (N, 3, H, W) uint8 into float32 on the device; `uniform` (N, COLUMNS) is given in training.

        On a CPU the next call overwrites the result: to allocate it anew costs more than to compute it.
        """
        if uniform is None or not any(_widths(self._jitter)):
            uniform = np.full((len(pixels), COLUMNS), 0.5)
        a, b, c = (
            torch.from_numpy(part).to(self._device, torch.float32).view(-1, 1)
            for part in jitter(self._jitter, uniform)
        )
        if self._device != "cpu":
            values = pixels.to(self._device, non_blocking=True).float().flatten(2)
            out = torch.baddbmm(*self._affine(values, a, b, c), values)
            return self._clipped(out).view(pixels.shape)
        if self._numbers.shape[1:] != pixels.shape[1:] or len(self._numbers) < len(pixels):
            self._numbers = torch.empty(pixels.shape)
        out = self._numbers[: len(pixels)]
        with _one_thread():
            for place in range(len(pixels)):
                one = slice(place, place + 1)
                values = pixels[one].float().flatten(2)  # image by image they stay in the cache
                torch.baddbmm(*self._affine(values, a[one], b[one], c[one]), values, out=out[one].flatten(2))
                self._clipped(out[one].flatten(2))
        return out

    def _affine(self, values: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offset (n, 3, 1) and matrix (n, 3, 3) of a·rgb + b·grey + c·mean grey, normalised."""
        grey = values.mean(2) @ self._grey / 255
        matrix = a.view(-1, 1, 1) * torch.eye(3, device=self._device) + b.view(-1, 1, 1) * self._grey
        offset = (c * grey.view(-1, 1) - self._mean) / self._std
        return offset.view(-1, 3, 1), matrix / (255 * self._std.view(1, 3, 1))

    def _clipped(self, numbers: Tensor) -> Tensor:
        for channel, (low, high) in enumerate(self._range):
            numbers[:, channel].clamp_(low, high)
        return numbers


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread meanwhile: more would wait for the cores that the loader's processes use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def jitter(
    widths: ColorJitter, uniform: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the factors (N,) of colour, grey and mean grey, for the three changes in a random order."""
    count = len(uniform)
    factors = [
        1 - width + 2 * width * uniform[:, _FACTORS + place] for place, width in enumerate(_widths(widths))
    ]
    orders = np.asarray(_ORDERS)[(uniform[:, _ORDER] * len(_ORDERS)).astype(int)]
    a, b, c = np.ones(count), np.zeros(count), np.zeros(count)
    for step in range(3):
        kind = orders[:, step]
        f = np.choose(kind, factors)
        mean = a + b + c  # of the image as it is by now, in units of the mean grey
        is_contrast, is_saturation = kind == 1, kind == 2
        # Saturation mixes with the grey as it is by now: (a + b) grey + c.
        b = np.where(is_saturation, f * b + (1 - f) * (a + b), f * b)
        c = np.where(is_saturation, c, f * c + np.where(is_contrast, (1 - f) * mean, 0.0))
        a = f * a
    return a, b, c


def _widths(widths: ColorJitter) -> tuple[float, float, float]:
    return widths.brightness, widths.contrast, widths.saturation


def _between(low: float, high: float, uniform: float) -> float:
    return low + (high - low) * uniform
