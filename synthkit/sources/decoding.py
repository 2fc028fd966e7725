"""Image files decoded to RGB pixels as a person sees them: upright, in sRGB, on white."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from synthkit.errors import UnreadableImage, one_line
from synthkit.sources.colour import in_srgb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Pillow warns of large photographs and odd metadata. Filters of warnings belong to the process, not to a
# thread, so this one is set once, here.
warnings.filterwarnings("ignore", module=r"PIL\.")

_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_OTHERS = (
    (b"\0\0\0\x0cJXL ", "JPEG XL: convert it to JPEG or PNG"),
    (b"\xff\x0a", "JPEG XL: convert it to JPEG or PNG"),
    (b"8BPS", "a file of Photoshop: save it as PNG"),
    (b"%PDF", "a PDF: save it as PNG"),
    (b"<svg", "a drawing (SVG): save it as PNG"),
)
# Formats that are read, by Pillow's names. Pillow knows more, and runs Ghostscript for some of those.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "DIB", "QOI")
_WIDE = {"F": "floating-point", "I": "32-bit"}
_BY_FEATURE = {"avif": (".avif",), "jpg_2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")}
EXTENSIONS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".mpo"),
    }
).union(*(suffixes for feature, suffixes in _BY_FEATURE.items() if features.check(feature)))


def decode(raw: bytes, name: str, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Return the image in a file: RGB in sRGB, upright by EXIF, 8 bits a channel, transparency on white.

    `formats` are Pillow's names. Raises UnreadableImage, with the name, for a file of another format, one
    that is cut short, and one above Pillow's limit of pixels.
    """
    with _opened(raw, name, formats) as image:
        upright = ImageOps.exif_transpose(image)
        return _rgb(in_srgb(_eight_bits(upright, image.format), image.info))


def decode_palette(raw: bytes, name: str) -> NDArray[np.uint8]:
    """Return the (H, W) uint8 palette indices of a PNG with a palette, as masks are.

    Raises UnreadableImage, with the name, for any other file.
    """
    with _opened(raw, name, ("PNG",)) as image:
        if image.mode != "P":
            raise ValueError("it has no palette")
        return np.asarray(image, dtype=np.uint8)


@contextmanager
def _opened(raw: bytes, name: str, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open an image file as one of these formats. Raises UnreadableImage for whatever a decoder raises."""
    try:
        with Image.open(io.BytesIO(raw), formats=formats) as image:  # noqa: TID251 (the wrapper)
            yield image
    except MemoryError:
        raise
    except Exception as error:
        # Damaged files make decoders raise anything at all: struct.error, IndexError, zlib.error …
        raise UnreadableImage(name, _reason(error, raw)) from error


def _eight_bits(image: Image.Image, form: str | None) -> Image.Image:
    """Return an image with 8 bits a channel; Pillow would clip sixteen-bit grey to white.

    Raises ValueError for floating-point and 32-bit pixels, whose range is not known.
    """
    if image.mode == "F" or (image.mode == "I" and form == "TIFF"):
        raise ValueError(f"its pixels are {_WIDE[image.mode]} numbers, whose range nobody states")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image), 0, 0xFFFF) >> 8).astype(np.uint8))


def _rgb(image: Image.Image) -> Image.Image:
    """Return an image as RGB on white: fully transparent pixels hold whatever colour their writer left."""
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _reason(error: Exception, raw: bytes) -> str:
    """Return why a file cannot be decoded, without a path: the manifest repeats it."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is not an image of a known format{_but(raw[:64])}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(error, longest=None)


def _but(head: bytes) -> str:
    """Return what a file is instead, by its first bytes, and what to do; phones and git make such files."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF and b"avif" not in head:
        return ", but HEIC: convert it to JPEG"
    if head.startswith(b"version https://git-lfs"):
        return ", but a pointer of Git LFS: run git lfs pull"
    return next((f", but {what}" for begins, what in _OTHERS if head.startswith(begins)), "")
