"""Reads the samples of a shard. Every command that reads images of a release uses this module.

A sample is `KEY.cls`, `KEY.json` and `KEY.<extension>`, one after the other; samples stand in the order of
their keys. Members with other names are skipped. An image is decoded in the format that the release states
and only if it has the size that its record states; a name in the shard never chooses the decoder.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

from synthkit.errors import ReleaseError, UnreadableImage
from synthkit.release.image_header import FORMATS, read_header
from synthkit.release.records import Provenance, key_of, read_record
from synthkit.release.tar_members import Member, content, members, opened
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image

MAX_RECORD = 1 << 20
_LABEL = re.compile(rb"[0-9]{1,9}")

# The members of a sample, by their extensions.
Parts = dict[str, Member]


def samples(stream: IO[bytes], size: int, first: int, extension: str) -> Iterator[Parts]:
    """Yield the members of each sample of a tar whose first image has the index `first`.

    Raises ValueError if a sample lacks a member, has one twice, or stands out of order.
    """
    extensions = sorted(("cls", "json", extension))
    known = re.compile(rf"[0-9]{{9,}}\.({'|'.join(extensions)})")
    index, parts = first, Parts()
    for member in members(stream, size):
        if not known.fullmatch(member.name):
            continue
        wanted = extensions[len(parts)]
        if member.name != f"{key_of(index)}.{wanted}":
            raise ValueError(f"{member.name} stands where {key_of(index)}.{wanted} must")
        parts[wanted] = member
        if len(parts) == len(extensions):
            yield parts
            index, parts = index + 1, Parts()
    if parts:
        raise ValueError(f"{key_of(index)} is not whole")


def read_sample(tar: Path, first: int, index: int, extension: str, form: int) -> tuple[Provenance, bytes]:
    """Read the record and the image file with an index, from a tar whose first image has the index `first`.

    `form` is the format of the release. Raises OSError, or ValueError if the sample is not there or its
    record cannot be read.
    """
    with opened(tar) as (stream, size):
        for number, parts in enumerate(samples(stream, size, first, extension), first):
            if number == index:
                return _read(stream, parts, extension, form)
    raise ValueError("it is not there")


def read_samples(tar: Path, first: int, extension: str, form: int) -> Iterator[tuple[Provenance, bytes]]:
    """Yield the record and the image file of every sample of a tar. Raises what `read_sample` raises."""
    with opened(tar) as (stream, size):
        for parts in samples(stream, size, first, extension):
            yield _read(stream, parts, extension, form)


def read_label(stream: IO[bytes], parts: Parts) -> int:
    """Read the label of a sample. Raises ValueError if it is not a number."""
    raw = content(stream, parts["cls"]) if parts["cls"].size < 10 else b""
    if not _LABEL.fullmatch(raw):
        raise ValueError(f"{parts['cls'].name} holds no label")
    return int(raw)


def decode_image(raw: bytes, key: str, extension: str, size: tuple[int, int]) -> Image.Image:
    """Decode an image file of a release into RGB; `size` is the width and height that its record states.

    Raises ReleaseError, before anything is decoded, if the file is of another format or size or has parts
    that no build writes; also if it cannot be decoded.
    """
    name = f"{key}.{extension}"
    try:
        found = read_header(raw, extension).size
        if found != size:
            raise ValueError(f"it is {found[0]}x{found[1]}, its record says {size[0]}x{size[1]}")
        return decode(raw, name, (FORMATS[extension],))
    except (UnreadableImage, ValueError) as error:
        reason = error.reason if isinstance(error, UnreadableImage) else error
        raise ReleaseError(f"{name}: cannot be read: {reason}; run synthkit verify --deep") from None


def _read(stream: IO[bytes], parts: Parts, extension: str, form: int) -> tuple[Provenance, bytes]:
    if parts["json"].size > MAX_RECORD:
        raise ValueError("its record is too large")
    return read_record(content(stream, parts["json"]), form), content(stream, parts[extension])
