"""Finds the pages of a column in a Parquet file whose values stand in it as they are, one after the other.

Arrow would also read pages that are compressed, or that name values of a dictionary: a few bytes that unpack
to any size. Here only headers of the one form are let through that a build writes: a plain page of version 1,
without statistics or a checksum. So all that a reader unpacks lies in the file.

Source: the Apache Parquet format (page headers, the encodings PLAIN and RLE) and Thrift's compact protocol.
"""

from __future__ import annotations

import re
import struct
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# A number in Thrift's compact protocol: seven bits a byte, the lowest first, the last byte below 0x80.
_NUMBER = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
_FIELD = b"\x15" + _NUMBER
# The type, both sizes, and of the data the number of values and three encodings: fields 1 to 3 and 5 of
# PageHeader, fields 1 to 4 of DataPageHeader, all of type i32; then statistics without content, or none.
_HEADER = re.compile(_FIELD * 3 + b"\x2c" + _FIELD * 4 + b"(?:\x1c\0)?\0\0", re.DOTALL)
_LONGEST = 64
_DATA_PAGE, _PLAIN, _RLE = 0, 0, 3
# The length that stands before levels and before a string.
_LENGTH = struct.Struct("<I")


class Page(NamedTuple):
    """Where the content of a page begins and ends in the file, and how many values it has, nulls included."""

    start: int
    end: int
    values: int


def pages(stream: IO[bytes], start: int, end: int) -> Iterator[Page]:
    """Yield the pages of a column that takes the bytes from `start` to `end` of a file.

    Raises ValueError if there is anything else than plain pages.
    """
    while start < end:
        stream.seek(start)
        header = _HEADER.match(stream.read(_LONGEST))
        if header is None:
            raise ValueError(f"at byte {start:,} is a page that no build writes")
        kind, unpacked, size, values, *encodings = map(_number, header.groups())
        page = Page(start + header.end(), start + header.end() + size, values)
        if (kind, unpacked, encodings) != (_DATA_PAGE, size, [_PLAIN, _RLE, _RLE]):
            raise ValueError(f"at byte {start:,} is a page whose values are packed")
        if size < 0 or values < 0 or page.end > end:
            raise ValueError(f"the page at byte {start:,} says that it has {size:,} bytes, {values:,} values")
        yield page
        start = page.end


def strings(stream: IO[bytes], page: Page) -> Iterator[tuple[int, int]]:
    """Yield the offset and the size, in bytes, of every string in a page of a column that may be null.

    Strings are skipped, not read. Raises ValueError if the page does not consist of them.
    """
    # The levels, which say which values are null, come first.
    at = page.start + _LENGTH.size + _length(stream, page.start, page.end)
    while at < page.end:
        size = _length(stream, at, page.end)
        yield at + _LENGTH.size, size
        at += _LENGTH.size + size


def _length(stream: IO[bytes], at: int, end: int) -> int:
    """Read the length that stands before some bytes. Raises ValueError if they do not end before `end`."""
    stream.seek(at)
    raw = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(raw)[0] if len(raw) == _LENGTH.size else end
    if at + _LENGTH.size + length > end:
        raise ValueError(f"at byte {at:,} is a string that does not end in its page")
    return int(length)


def _number(raw: bytes) -> int:
    """Return a signed number: its lowest bit is the sign (zigzag)."""
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(raw))
    return (value >> 1) ^ -(value & 1)
