"""Conversion to sRGB of images that carry an ICC profile or a PNG's gamma.

Sources: ICC.1:2022 for the profile's header; PNG 1.2, section 10.5, for gamma. Little CMS converts. As in
browsers, the intent is perceptual, and a damaged profile, or one for another kind of pixels, is ignored.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL.ImageCms import ImageCmsTransform

# Bytes of a profile: those of photographs have some kB, those of printing presses up to some MB.
_LARGEST = 8_000_000
# The header's field of the colour space: bytes 16 to 20.
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# Levels of 255: programs write profiles for sRGB that differ from each other by this much.
_ALIKE = 2
# The gamma of sRGB. A PNG's gamma within this share of it counts as sRGB, as in libpng.
_GAMMA, _NEAR = 1 / 2.2, 0.05


def in_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """Return an image in sRGB, as RGB or RGBA, by what its file says of its colours.

    `info` is Pillow's: the profile, and of a PNG the gamma. An image that has neither, or is in sRGB already,
    is returned as it is.
    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if isinstance(profile, bytes) and profile:
        return _by_profile(image, profile)
    if isinstance(gamma, float) and "srgb" not in info and gamma > 0 and abs(gamma / _GAMMA - 1) > _NEAR:
        return _by_gamma(image, gamma)
    return image


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    space = _SPACES.get(profile[16:20]) if len(profile) <= _LARGEST else None
    pixels = _pixels(image, space)
    transform = _transform(profile, space) if space and pixels else None
    if transform is None or pixels is None:
        return image
    return _with_alpha_of(image, transform.apply(pixels))


def _by_gamma(image: Image.Image, gamma: float) -> Image.Image:
    levels = np.linspace(0, 1, 256) ** (_GAMMA / gamma)
    table = np.rint(255 * levels).astype(int).tolist()
    return _with_alpha_of(image, _colours(image).point(table * 3))


def _colours(image: Image.Image) -> Image.Image:
    """Return the image as RGB; transparent pixels keep the colour that the file gives them."""
    return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def _with_alpha_of(image: Image.Image, seen: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        seen.putalpha(image.convert("RGBA").getchannel("A"))
    return seen


def _pixels(image: Image.Image, space: str | None) -> Image.Image | None:
    """Return the image in the kind of pixels that a profile is for; None if the image is of another kind."""
    grey = image.mode in ("1", "L", "LA", "La")
    if space == "RGB" and image.mode != "CMYK":
        # Grey levels are colours of an RGB profile, too.
        return _colours(image)
    if space == "L" and grey:
        return image.convert("L")
    return image if space == image.mode == "CMYK" else None


@lru_cache(maxsize=16)
def _transform(profile: bytes, space: str) -> ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; None if the profile cannot be used or is sRGB.

    It is cached: a data set holds few profiles, each many times. Threads may share a transform.
    """
    from PIL import ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            # Little CMS would keep the last pixel in the transform, which threads share.
            ImageCms.Flags.NOCACHE,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if space != "CMYK" and _moves_nothing(transform, space) else transform


def _moves_nothing(transform: ImageCmsTransform, space: str) -> bool:
    """Return whether colours from all over the cube stay as they are, but for rounding."""
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 18, 3)
    probe = Image.fromarray(cube) if space == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return bool(np.abs(moved).max() <= _ALIKE)
