"""Colours as a person sees them: pixels that an ICC profile, or a PNG's gamma, explains, in sRGB.

Sources: ICC.1:2022 (the profile's header), by Little CMS; PNG 1.2, section 10.5 (gamma). As in browsers,
the intent is perceptual, and a profile that is damaged, or of another kind of pixels, is passed over.
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

# Of photographs they are some kB, of printing presses up to some MB.
_LARGEST = 8_000_000
# The header's field of the colour space: bytes 16 to 20.
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# The profiles that programs write for sRGB differ from each other in this much of 255.
_ALIKE = 2
# As libpng: a PNG's gamma this near to that of sRGB (1/2.2) says nothing.
_GAMMA, _NEAR = 1 / 2.2, 0.05


def in_srgb(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """An image in sRGB, as RGB or RGBA, by what its file says of its colours; unchanged if that is sRGB.

    `info` is the file's: its profile, and of a PNG its gamma. An image without is taken for sRGB.
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
    """The image as RGB; what is transparent keeps its colour."""
    return (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")


def _with_alpha_of(image: Image.Image, seen: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        seen.putalpha(image.convert("RGBA").getchannel("A"))
    return seen


def _pixels(image: Image.Image, space: str | None) -> Image.Image | None:
    """The image in a profile's kind of pixels; None where the profile is for another kind."""
    grey = image.mode in ("1", "L", "LA", "La")
    if space == "RGB" and image.mode != "CMYK":
        # Grey is a colour of such a profile too.
        return _colours(image)
    if space == "L" and grey:
        return image.convert("L")
    return image if space == image.mode == "CMYK" else None


@lru_cache(maxsize=16)
def _transform(profile: bytes, space: str) -> ImageCmsTransform | None:
    """From a profile to sRGB; None for one that cannot be used and for one that moves no colour.

    Data sets hold few profiles, each many times. A transform may be used from many threads.
    """
    from PIL import ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            # Its memory of the last pixel is what threads would share.
            ImageCms.Flags.NOCACHE,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if space != "CMYK" and _moves_nothing(transform, space) else transform


def _moves_nothing(transform: ImageCmsTransform, space: str) -> bool:
    """Whether colours all over the cube come out as they are, but for rounding: the profile is sRGB."""
    steps = np.linspace(0, 255, 18).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 18, 3)
    probe = Image.fromarray(cube) if space == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    moved = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return bool(np.abs(moved).max() <= _ALIKE)
