"""Pixels to the bytes of an image file, the same bytes every time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from synthkit.marks import save_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synthkit.marks import Mark
    from synthkit.recipe import Output

DEFAULT_QUALITY = 95


def encode(pixels: NDArray[np.uint8], output: Output, mark: Mark) -> tuple[bytes, tuple[int, int]]:
    """The file of an image, (H, W, 3) uint8, with its mark; and its width and height as written."""
    image = Image.fromarray(pixels)
    if output.size is not None and image.size != (output.size, output.size):
        image = image.resize((output.size, output.size), Image.Resampling.LANCZOS)
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
