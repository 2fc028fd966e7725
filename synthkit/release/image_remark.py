"""Puts another mark into an image file that a build wrote; its pixels stay as they are, to the last byte.

Sources: where XMP stands in PNG, JPEG and WebP, see `image_header.py`.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from synthkit.release.image_header import JFIF, JPEG_XMP, PNG_XMP, png_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def with_mark(raw: bytes, extension: str, mark: bytes) -> bytes:
    """Return what `image_writer.encode` gives for the pixels of an image file and another mark.

    `raw` is a file that `encode` wrote.
    """
    return _WRITERS[extension](raw, mark)


def _png(raw: bytes, mark: bytes) -> bytes:
    parts = [raw[:8]]
    for kind, start, end in png_chunks(raw):
        content = PNG_XMP + mark if kind == b"iTXt" else raw[start:end]
        parts += [struct.pack(">I", len(content)), kind, content]
        parts.append(struct.pack(">I", zlib.crc32(kind + content)))
    return b"".join(parts)


def _jpeg(raw: bytes, mark: bytes) -> bytes:
    start = 2 + len(JFIF)
    end = start + 2 + int.from_bytes(raw[start + 2 : start + 4])
    content = JPEG_XMP + mark
    return b"".join((raw[: start + 2], struct.pack(">H", len(content) + 2), content, raw[end:]))


def _webp(raw: bytes, mark: bytes) -> bytes:
    chunks = b"".join(_chunk(kind, mark if kind == b"XMP " else content) for kind, content in _chunks(raw))
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at < len(raw):
        kind, length = struct.unpack_from("<4sI", raw, at)
        yield kind, raw[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


_WRITERS: dict[str, Callable[[bytes, bytes], bytes]] = {"png": _png, "jpg": _jpeg, "webp": _webp}
