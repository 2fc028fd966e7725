"""The bytes of an image file to RGB pixels, as a person would see them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from synthkit.errors import UnreadableImage


def decode(raw: bytes, name: str) -> Image.Image:
    """The image in a file, RGB, upright (EXIF) and at 8 bits a channel.

    Raises UnreadableImage with the name for what is no image, is cut short, or is larger than
    Pillow's pixel limit.
    """
    try:
        with Image.open(io.BytesIO(raw)) as image:
            return _eight_bits(ImageOps.exif_transpose(image)).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(name, _reason(error)) from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Sixteen-bit grey scaled down; Pillow would clip it to white."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _reason(error: Exception) -> str:
    """Why, in words that hold no path: the manifest repeats them."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
