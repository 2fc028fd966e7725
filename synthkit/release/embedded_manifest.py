"""Puts a C2PA manifest into an image file as a build writes it, and takes one out.

Source: C2PA Technical Specification 2.4, appendix A (embedding manifests): PNG (caBX), JPEG (APP11) and WebP
(C2PA chunk).
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from synthkit.release.image_header import JPEG_C2PA

# Where the second part of a file starts: after IHDR, after JFIF.
_SECOND_PART = {"png": 33, "jpg": 20}


class Embedded(NamedTuple):
    """An image file with a C2PA manifest, and the length of the part of it that holds the manifest."""

    file: bytes
    length: int


def manifest_start(image: bytes, extension: str) -> int:
    """Return where the part with a C2PA manifest starts in an image file that gets one."""
    return _SECOND_PART.get(extension, len(image))


def embed_manifest(image: bytes, extension: str, manifest: bytes) -> Embedded:
    """Put a C2PA manifest, of an even length below 64 kB, into an image file that has none."""
    start, part = manifest_start(image, extension), _part(extension, manifest)
    return Embedded(_sized(image[:start] + part + image[start:], extension), len(part))


def without_manifest(file: bytes, extension: str, manifest: bytes) -> bytes:
    """Return an image file without its C2PA manifest: what `embed_manifest` was given."""
    length = len(_part(extension, manifest))
    start = _SECOND_PART.get(extension, len(file) - length)
    return _sized(file[:start] + file[start + length :], extension)


def _part(extension: str, manifest: bytes) -> bytes:
    match extension:
        case "png":
            chunk = b"caBX" + manifest
            return struct.pack(">I", len(manifest)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        case "jpg":
            segment = JPEG_C2PA + manifest
            return b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment
    return b"C2PA" + struct.pack("<I", len(manifest)) + manifest


def _sized(file: bytes, extension: str) -> bytes:
    """Return a WebP with its own length in its beginning; other formats state none."""
    return file[:4] + struct.pack("<I", len(file) - 8) + file[8:] if extension == "webp" else file
