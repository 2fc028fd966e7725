"""Reads the header of an image file of a release, without decoding it: its size, its mark, and where it ends.

A file may be a stranger's, so its claims about sizes allocate no memory. Allowed are the parts that
`image_writer.py` and `embedded_manifest.py` write, in their order. Any other part could hide data or be meant
for a faulty decoder.

Sources: PNG (ISO/IEC 15948), JPEG (ITU-T T.81) and JFIF 1.01, WebP (RFC 9649); where XMP stands in each:
ISO 16684-1 and Adobe's XMP Specification, part 3.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthkit.recipe.output import MAX_EDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The extensions of image files, and Pillow's names for their formats.
FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
_SIGNATURES = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpg": re.compile(rb"\xff\xd8\xff"),
    "webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}

# The chunks that may follow each chunk.
_PNG = {
    b"": (b"IHDR",),
    b"IHDR": (b"caBX", b"iTXt", b"IDAT"),
    b"caBX": (b"iTXt", b"IDAT"),
    b"iTXt": (b"IDAT",),
    b"IDAT": (b"IDAT", b"IEND"),
    b"IEND": (),
}
_PNG_RGB = (8, 2, 0, 0, 0)
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"

# Markers and lengths of the segments that follow each other after the mark; the mark has any length.
_APP1, _APP11, _SOF0, _EOI = 0xE1, 0xEB, 0xC0, b"\xff\xd9"
_TABLES = ((0xDB, 67), (0xDB, 67), (_SOF0, 17), (0xC4, 31), (0xC4, 181), (0xC4, 31), (0xC4, 181), (0xDA, 12))
JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
# The start of a segment with a box (ISO/IEC 18477-3, JPEG XT): the first segment of the first box.
JPEG_C2PA = b"JP\0\1\0\0\0\1"
_MARKER = re.compile(rb"\xff[^\0]", re.DOTALL)

_WEBP = ((b"VP8X", b"VP8 ", b"XMP "), (b"VP8X", b"VP8 ", b"XMP ", b"C2PA"), (b"VP8 ",))
_VP8X_WITH_XMP = b"\x04\0\0\0"
_KEY_FRAME = b"\x9d\x01\x2a"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height in pixels, the XMP packet and the C2PA manifest.

    Each is None if it is not where the format puts it.
    """

    width: int
    height: int
    xmp: bytes | None
    c2pa: bytes | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def read_header(raw: bytes, extension: str) -> ImageHeader:
    """Read the header of an image file whose name ends in png, jpg or webp; `raw` is the whole file.

    Raises ValueError, in a sentence about `it`, if the file is of another format, is cut short, goes on
    after its end, or has a part that no build writes.
    """
    if not _SIGNATURES[extension].match(raw):
        others = (FORMATS[name] for name, signature in _SIGNATURES.items() if signature.match(raw))
        really = next((f" but {name}" for name in others), "")
        raise ValueError(f"it is not {FORMATS[extension]}, as its name says,{really}".rstrip(","))
    header = _READERS[extension](raw)
    if not (0 < header.width <= MAX_EDGE and 0 < header.height <= MAX_EDGE):
        raise ValueError(f"it says that it is {header.width}x{header.height} pixels large")
    return header


def check_png_data(raw: bytes, size: tuple[int, int]) -> None:
    """Raise ValueError unless a PNG, whose header is in order, holds exactly the bytes of `size` pixels.

    The data is inflated a piece at a time, and no further than to the first byte too many: a small file
    can inflate to any size.
    """
    width, height = size
    left = (3 * width + 1) * height
    inflater = zlib.decompressobj()
    try:
        for kind, start, end in png_chunks(raw):
            waiting = raw[start:end] if kind == b"IDAT" else b""
            while waiting:
                if inflater.eof:
                    raise ValueError("its data goes on after its last pixel")
                left -= len(inflater.decompress(waiting, min(left + 1, 1 << 20)))
                if left < 0:
                    raise ValueError("it holds more pixels than it says")
                waiting = inflater.unconsumed_tail or inflater.unused_data
    except zlib.error:
        raise ValueError("its pixels cannot be inflated") from None
    if left or not inflater.eof:
        raise ValueError("it holds fewer pixels than it says")


def _png(raw: bytes) -> ImageHeader:
    width = height = 0
    xmp = c2pa = None
    before = b""
    for kind, start, end in png_chunks(raw):
        if kind not in _PNG[before]:
            raise ValueError(f"it has a part that no build writes: {kind!r} after {before or 'its start'!r}")
        if zlib.crc32(memoryview(raw)[start - 4 : end]) != int.from_bytes(raw[end : end + 4]):
            raise ValueError(f"its part {kind!r} is damaged")
        if kind == b"IHDR":
            width, height = _png_size(raw[start:end])
        elif kind == b"iTXt":
            xmp = _after(PNG_XMP, raw[start:end], "an iTXt that is not XMP")
        elif kind == b"caBX":
            c2pa = raw[start:end]
        before = kind
    if before != b"IEND":
        raise ValueError("it is cut short")
    return ImageHeader(width, height, xmp, c2pa)


def png_chunks(raw: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and where its content starts and ends.

    Raises ValueError if the file is cut short, or if IEND is not empty or not the end of the file.
    """
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(raw):
            raise ValueError("it is cut short")
        length, kind = struct.unpack_from(">I4s", raw, at)
        start, at = at + 8, at + 12 + length
        if at > len(raw):
            raise ValueError("it is cut short")
        yield kind, start, start + length
    if length:
        raise ValueError(f"it has {length:,} bytes in its last part")
    _ends(raw, at)


def _png_size(content: bytes) -> tuple[int, int]:
    if len(content) != 13:
        raise ValueError(f"its IHDR has {len(content):,} bytes")
    width, height, *kind = struct.unpack(">II5B", content)
    if tuple(kind) != _PNG_RGB:
        raise ValueError("it is not plain RGB of 8 bits")
    return width, height


def _jpeg(raw: bytes) -> ImageHeader:
    if not raw.startswith(JFIF, 2):
        raise ValueError("it has a part that no build writes, or lacks one: it does not begin with JFIF")
    at, shape = 2 + len(JFIF), b""
    c2pa, at = _segment(raw, at, _APP11, JPEG_C2PA, "an APP11 that is not C2PA")
    xmp, at = _segment(raw, at, _APP1, JPEG_XMP, "an APP1 that is not XMP")
    for marker, length in _TABLES:
        if raw[at : at + 4] != struct.pack(">BBH", 0xFF, marker, length):
            raise ValueError(f"it has a part that no build writes, or lacks one: {raw[at : at + 2].hex()}")
        if marker == _SOF0:
            shape = raw[at + 4 : at + 2 + length]
        at += 2 + length
    found = _MARKER.search(raw, at)
    if found is None:
        raise ValueError("it is cut short")
    if found[0] != _EOI:
        raise ValueError(f"it has a part that no build writes in its data: {found[0].hex()}")
    _ends(raw, found.end())
    bits, height, width, colours = struct.unpack_from(">BHHB", shape)
    if (bits, colours) != (8, 3):
        raise ValueError("it is not plain colour of 8 bits")
    return ImageHeader(width, height, xmp, c2pa)


def _segment(raw: bytes, at: int, marker: int, start: bytes, what: str) -> tuple[bytes | None, int]:
    """Return the content of a JPEG's segment after its start, and its end; None if another one is there."""
    if raw[at : at + 2] != bytes((0xFF, marker)):
        return None, at
    end = at + 2 + int.from_bytes(raw[at + 2 : at + 4])
    return _after(start, raw[at + 4 : end], what), end


def _webp(raw: bytes) -> ImageHeader:
    end = 8 + int.from_bytes(raw[4:8], "little")
    if end > len(raw):
        raise ValueError("it is cut short")
    _ends(raw, end)
    parts: list[tuple[bytes, bytes]] = []
    at = 12
    while at < end:
        if at + 8 > end or len(parts) == 4:
            raise ValueError("it has a part that no build writes")
        kind, length = struct.unpack_from("<4sI", raw, at)
        start, at = at + 8, at + 8 + length + length % 2
        if at > end or raw[start + length : at].strip(b"\0"):
            raise ValueError("it is cut short, or its padding is not empty")
        parts.append((kind, raw[start : start + length]))
    kinds = tuple(kind for kind, _ in parts)
    if kinds not in _WEBP:
        raise ValueError(f"it has other parts than a build writes: {list(kinds)}")
    contents = dict(parts)
    width, height = _vp8_size(contents[b"VP8 "])
    if b"VP8X" in contents:
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        if contents[b"VP8X"] != _VP8X_WITH_XMP + canvas:
            raise ValueError("its first part does not fit the others")
    return ImageHeader(width, height, contents.get(b"XMP "), contents.get(b"C2PA"))


def _vp8_size(frame: bytes) -> tuple[int, int]:
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != _KEY_FRAME:
        raise ValueError("it does not begin with a picture")
    width, height = struct.unpack_from("<HH", frame, 6)
    if not (width and height):
        raise ValueError("it says that it has no pixels")
    return width, height


def _after(start: bytes, content: bytes, what: str) -> bytes:
    if not content.startswith(start):
        raise ValueError(f"it has a part that no build writes: {what}")
    return content[len(start) :]


def _ends(raw: bytes, end: int) -> None:
    if end < len(raw):
        raise ValueError(f"it goes on for {len(raw) - end:,} bytes after its end")


_READERS: dict[str, Callable[[bytes], ImageHeader]] = {"png": _png, "jpg": _jpeg, "webp": _webp}
