"""Tars as shards are: plain ustar members, without times, owners and names of them.

Source: POSIX.1-1988 ustar. `tarfile` writes the same bytes and reads the same members; with three
members an image, that is most of what writing a shard takes, and all of finding an image in one.
"""

from __future__ import annotations

import os
import re
import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = tarfile.BLOCKSIZE
_NAME_BYTES = 100
_SIZE = re.compile(rb"[0-7]{11}\0")
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


def _template() -> bytes:
    member = tarfile.TarInfo("")
    member.mode = 0o644
    return member.tobuf(tarfile.USTAR_FORMAT)


_EMPTY = _template()
_BEFORE_SIZE, _AFTER_SIZE, _AFTER_CHECKSUM = _EMPTY[100:124], _EMPTY[135:148], _EMPTY[155:]
# The checksum counts its own field as spaces: eight of them, one of which stays.
_CHECKSUM = sum(_BEFORE_SIZE) + sum(_AFTER_SIZE) + 7 * ord(" ") + sum(_AFTER_CHECKSUM)


def header(name: str, size: int) -> bytes:
    """The header of a plain file of mode 0644. Raises ValueError for a name of over 100 bytes."""
    encoded, digits = name.encode(), b"%011o" % size
    if len(encoded) > _NAME_BYTES or len(digits) > 11:
        raise ValueError(f"{name[:_NAME_BYTES]}: has no place in a tar")
    checksum = b"%06o\0" % (_CHECKSUM + sum(encoded) + sum(digits))
    place = encoded.ljust(_NAME_BYTES, b"\0")
    return b"".join((place, _BEFORE_SIZE, digits, _AFTER_SIZE, checksum, _AFTER_CHECKSUM))


def add_member(stream: IO[bytes], name: str, content: bytes) -> None:
    """Write a member."""
    stream.write(header(name, len(content)))
    stream.write(content)
    stream.write(bytes(-len(content) % BLOCK))


def end(stream: IO[bytes]) -> None:
    """Write the end of a tar, all of which the stream must hold."""
    stream.write(bytes(2 * BLOCK))
    stream.write(bytes(-stream.tell() % tarfile.RECORDSIZE))


def size_of(head: bytes) -> int:
    """The length of a member, from its header. Raises ValueError if it is not said plainly."""
    if not _SIZE.fullmatch(head[124:136]):
        raise ValueError("has no plain size")
    return int(head[124:135], 8)


def read_member(path: Path, name: str) -> bytes:
    """A member, by its name. Raises KeyError if it is not there, ValueError if it is no whole plain file."""
    with path.open("rb", buffering=0) as stream:
        descriptor = stream.fileno()
        for at, head in _headers(descriptor, os.fstat(descriptor).st_size):
            if head.startswith(f"{name}\0".encode()):
                # A link may lead to itself, and holes have no end.
                if head[156:157] not in _PLAIN:
                    raise ValueError(f"{name} is not a plain file")
                return os.pread(descriptor, size_of(head), at + BLOCK)
    raise KeyError(name)


def _headers(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Where each member begins, and its header; of those alone that are inside the file."""
    at = 0
    while len(head := os.pread(descriptor, BLOCK, at)) == BLOCK and head.strip(b"\0"):
        length = size_of(head)
        if at + BLOCK + length > size:
            raise ValueError(f"is cut short at byte {at:,}")
        yield at, head
        at += BLOCK + length + -length % BLOCK
