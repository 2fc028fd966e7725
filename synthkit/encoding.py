"""Pixels to the bytes of an image file, the same bytes every time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from synthkit.errors import GeneratorError
from synthkit.marks import save_options
from synthkit.records import MAX_EDGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthkit.marks import Mark
    from synthkit.recipe import Output

DEFAULT_QUALITY = 95


def encode(pixels: NDArray[np.uint8], output: Output, mark: Mark) -> tuple[bytes, tuple[int, int]]:
    """The file of an image, (H, W, 3) uint8, with its mark; and its width and height as written.

    Raises GeneratorError for an image that is larger than a release may hold.
    """
    image = Image.fromarray(pixels)
    if output.size is not None and image.size != (output.size, output.size):
        image = image.resize((output.size, output.size), Image.Resampling.LANCZOS)
    if max(image.size) > MAX_EDGE:
        made = f"{image.width}x{image.height}"
        raise GeneratorError(f"output.size: the model makes images of {made}; set it to {MAX_EDGE} or less")
    buffer = io.BytesIO()
    options = save_options(output.format, mark.packet())
    match output.format:
        case "png":
            image.save(buffer, "PNG", compress_level=6, **options)
        case "jpeg":
            image.save(buffer, "JPEG", quality=output.quality or DEFAULT_QUALITY, subsampling=0, **options)
        case "webp":
            image.save(buffer, "WEBP", quality=output.quality or DEFAULT_QUALITY, method=4, **options)
    return buffer.getvalue(), image.size
