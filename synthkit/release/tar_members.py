"""Reads the members of a shard, which must be plain files of a ustar archive, as `shards.py` writes them.

A shard with anything else is refused: links, folders, sparse files, pax and GNU headers, sizes that are
negative or not octal. Other tar readers would follow those to data that was never checked. A member must
end before the file does.

Source: POSIX.1-1988 ustar.
"""

from __future__ import annotations

import re
import stat
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCK = 512
_RECORD = 20 * _BLOCK
_MAX_MEMBER = 1 << 28
_SIZE = re.compile(rb"[0-7]{11}\0")
# Type flag 0 (a plain file), no link target, the magic and version of ustar; and the name prefix, unused.
_PLAIN = b"0" + bytes(100) + b"ustar\x0000"
_NO_PREFIX = bytes(155)


class Member(NamedTuple):
    """A file in a tar: its name, the offset and size of its content in bytes, and its header (512 bytes)."""

    name: str
    offset: int
    size: int
    header: bytes


@contextmanager
def opened(tar: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a tar for reading; give the stream and its length in bytes.

    Raises OSError, or ValueError if it is not a regular file: a pipe, for example, may have no end.
    """
    status = tar.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    with tar.open("rb") as stream:
        yield stream, status.st_size


def members(stream: IO[bytes], size: int) -> Iterator[Member]:
    """Yield the members of a tar of `size` bytes, then check that it ends as a tar does.

    Contents are skipped, and the caller may move the stream meanwhile. Raises ValueError, in a sentence
    about `it` or a member, if the tar has anything that `shards.py` does not write.
    """
    at = 0
    while at + _BLOCK <= size:
        stream.seek(at)
        header = stream.read(_BLOCK)
        if not header.strip(b"\0"):
            break
        member = _member(header, at, size)
        yield member
        at = _end(member)
        stream.seek(member.offset + member.size)
        if stream.read(at - member.offset - member.size).strip(b"\0"):
            raise ValueError(f"the padding after member {member.name[:80]!r} is not empty")
    whole = -(-(at + 2 * _BLOCK) // _RECORD) * _RECORD
    stream.seek(at)
    if size != whole or stream.read(whole - at).strip(b"\0"):
        raise ValueError(f"it does not end after byte {at:,} as a tar does")


def content(stream: IO[bytes], member: Member) -> bytes:
    """Read the content of a member. Raises ValueError if the file has become shorter meanwhile."""
    stream.seek(member.offset)
    read = stream.read(member.size)
    if len(read) != member.size:
        raise ValueError(f"it is cut short in member {member.name[:80]!r}")
    return read


def _member(header: bytes, at: int, size: int) -> Member:
    name = header[:100].rstrip(b"\0").decode("utf-8", "replace")
    if not _SIZE.fullmatch(header[124:136]):
        raise ValueError(f"member {name[:80]!r} at byte {at:,} has no plain size")
    if header[156:265] != _PLAIN or header[345:500] != _NO_PREFIX:
        raise ValueError(f"member {name[:80]!r} at byte {at:,} is not a plain file")
    if header[148:156] != b"%06o\0 " % (sum(header[:148]) + 8 * 0x20 + sum(header[156:])):
        raise ValueError(f"member {name[:80]!r} at byte {at:,} has a damaged header")
    member = Member(name, at + _BLOCK, int(header[124:135], 8), header)
    if member.size > _MAX_MEMBER or _end(member) > size:
        raise ValueError(f"member {name[:80]!r} at byte {at:,} says it has {member.size:,} bytes")
    return member


def _end(member: Member) -> int:
    return member.offset + -(-member.size // _BLOCK) * _BLOCK
