"""Checks the pictures of a release: they must be plain PNG files of the size that their layout gives.

Source: PNG specification, third edition (W3C), section 5.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from synthkit.errors import UnreadableImage
from synthkit.release.image_header import png_chunks
from synthkit.release.samples import EXAMPLES, pick_labels, sheet_size
from synthkit.sources.decoding import decode
from synthkit.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synthkit.release.audit import Audit
    from synthkit.release.manifest import Manifest

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The only chunks of a picture: text, colour profiles and animations have no place in it.
_PARTS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_MAX_BYTES = 1 << 26
_LARGEST = 1 << 13
# The numbers by which its width and height may have been divided, so that git can keep the release.
_SMALLER = (1, 2, 3, 4)


def samples_faults(path: Path, manifest: Manifest, *, deep: bool) -> Iterator[str]:
    """Yield a fault if samples.png is not a sheet with the rows and columns that the classes fill."""
    labels = pick_labels([item.label for item in manifest.classes if item.synthetic > 0])
    counts = {item.label: item.synthetic for item in manifest.classes}
    if labels:
        columns = max(min(counts[label], EXAMPLES) for label in labels)
        yield from _faults(path, manifest, sheet_size(len(labels), columns), deep=deep)


def audit_picture_faults(path: Path, manifest: Manifest, found: Audit, *, deep: bool) -> Iterator[str]:
    """Yield a fault if audit.png is not a picture of as many pairs and groups as audit.json lists."""
    from synthkit.release.audit import PICTURED, picture_size, pictured_groups

    size = picture_size(min(len(found.pairs), PICTURED), len(pictured_groups(found)))
    yield from _faults(path, manifest, size, deep=deep)


def _faults(path: Path, manifest: Manifest, wanted: tuple[int, int], *, deep: bool) -> Iterator[str]:
    with path.open("rb") as stream:
        raw = stream.read(_MAX_BYTES + 1)
    try:
        size = _size(raw)
    except ValueError as error:
        yield f"is not a picture: {error}"
        return
    possible = [(-(-wanted[0] // by), -(-wanted[1] // by)) for by in _SMALLER]
    if manifest.environment.get("synthkit") == __version__ and size not in possible:
        yield f"is {size[0]}x{size[1]}, the picture of this release is {wanted[0]}x{wanted[1]}"
    elif deep:
        try:
            decode(raw, path.name, ("PNG",))
        except UnreadableImage as error:
            yield f"is not a picture: {error.reason}"


def _size(raw: bytes) -> tuple[int, int]:
    """Read width and height from a PNG's header.

    Raises ValueError for a file that is not a PNG of a release: damaged, too large, or with other chunks.
    """
    if not raw.startswith(_SIGNATURE):
        raise ValueError("it does not begin as a PNG file")
    if len(raw) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
    kinds = []
    for kind, start, end in png_chunks(raw):
        if zlib.crc32(memoryview(raw)[start - 4 : end]) != int.from_bytes(raw[end : end + 4]):
            raise ValueError(f"its part {kind!r} is damaged")
        kinds.append(kind)
    if kinds[0] != b"IHDR" or b"IDAT" not in kinds or set(kinds) - {*_PARTS}:
        raise ValueError("it has parts that no picture of a release has, or lacks its pixels")
    width, height = int.from_bytes(raw[16:20]), int.from_bytes(raw[20:24])
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise ValueError(f"it says that it is {width:,}x{height:,} pixels large")
    return width, height
