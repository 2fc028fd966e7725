"""Pictures small enough for a page, as data URIs: WebP, which every browser of today shows."""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

from PIL import Image

_QUALITY = 72


class Picture(NamedTuple):
    """A picture in a page: its data URI, and the width and height of the image that it is of."""

    uri: str
    width: int
    height: int


class Mixed(NamedTuple):
    """The conditioning of an image; each pixel of one with `cells` is to be enlarged without blurring."""

    title: str
    note: str
    picture: Picture
    cells: bool


def picture_of(image: Image.Image, edge: int, *, exact: bool = False) -> Picture:
    """Return an image (RGB), at most `edge` pixels long.

    An `exact` one keeps every pixel, and so does one of less than half that length: it has room.
    """
    small = image if max(image.size) <= edge else image.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    exact = exact or 2 * max(image.size) <= edge
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY, method=4, lossless=exact)
    uri = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Picture(uri, image.width, image.height)
