"""Writes image files: pixels, with the mark that says the image is generated.

Pillow writes the mark as XMP into PNG (iTXt), JPEG (APP1) and WebP (XMP chunk).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.recipe.output import MAX_EDGE, Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

DEFAULT_QUALITY = 95


def picture(pixels: NDArray[np.uint8], output: Output) -> Image.Image:
    """Return an image, (H, W, 3) uint8, in the size that `output` asks for.

    Raises GeneratorError for an image that is larger than a release may hold.
    """
    image = Image.fromarray(pixels)
    if output.size is not None and image.size != (output.size, output.size):
        image = image.resize((output.size, output.size), Image.Resampling.LANCZOS)
    if max(image.size) > MAX_EDGE:
        made = f"{image.width}x{image.height}"
        raise GeneratorError(f"output.size: the model makes images of {made}; set it to {MAX_EDGE} or less")
    return image


def encode(image: Image.Image, output: Output, mark: bytes) -> bytes:
    """Return the file of an image in the format that `output` asks for, with its mark."""
    buffer = io.BytesIO()
    options = save_options(output.format, mark)
    match output.format:
        case "png":
            image.save(buffer, "PNG", compress_level=6, **options)
        case "jpeg":
            image.save(buffer, "JPEG", quality=output.quality or DEFAULT_QUALITY, subsampling=0, **options)
        case "webp":
            image.save(buffer, "WEBP", quality=output.quality or DEFAULT_QUALITY, method=4, **options)
    return buffer.getvalue()


def save_options(image_format: str, mark: bytes) -> Mapping[str, object]:
    """Return the arguments with which Pillow's `save` writes a mark into an image of a format."""
    if image_format != "png":
        return {"xmp": mark}
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", mark.decode())
    return {"pnginfo": info}
