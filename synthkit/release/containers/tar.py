"""Shards as tars, which `webdataset` reads: a sample is `KEY.cls`, `KEY.json` and `KEY.<extension>`.

The members of a sample stand one after the other, in alphabetical order of their extensions, and samples in
the order of their keys. Times, owners and groups are zero, so equal samples give equal bytes.

Source: the WebDataset format (tar members KEY.EXT, one sample's members adjacent) and POSIX.1-1988 ustar.
"""

from __future__ import annotations

import io
import re
import tarfile
from typing import IO, TYPE_CHECKING

from synthkit.release.containers.base import Found, Place, Shard
from synthkit.release.records import MAX_RECORD, Provenance, key_of, read_record
from synthkit.release.tar_members import Member, content, members, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LABEL = re.compile(rb"[0-9]{1,9}")

# The members of a sample, by their extensions.
_Parts = dict[str, Member]


class Tar:
    """Tars of samples; a Container."""

    media_type = "application/x-tar"
    # Three members, each with a header and a block.
    least_per_sample = 3 * 1024

    def writer(self, stream: IO[bytes], extension: str) -> TarWriter:
        """Return what writes a tar into a stream."""
        return TarWriter(stream, extension)

    def read_some(self, shard: Shard, indices: Sequence[int]) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the records and the image files with some indices; the tar is read up to the last of them."""
        with opened(shard.path) as (stream, size):
            samples = enumerate(_samples(stream, size, shard), shard.first)
            for index in indices:
                found = next((parts for number, parts in samples if number == index), None)
                if found is None:
                    raise ValueError("it is not there")
                yield _read(stream, found, shard)

    def read_all(self, shard: Shard) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the record and the image file of every sample; members with other names are skipped."""
        with opened(shard.path) as (stream, size):
            for parts in _samples(stream, size, shard):
                yield _read(stream, parts, shard)

    def places(self, shard: Shard) -> Iterator[Place]:
        """Yield where each image lies in the tar; images are skipped, not read."""
        with opened(shard.path) as (stream, size):
            for parts in _samples(stream, size, shard):
                image = parts[shard.extension]
                yield Place(image.offset, image.size, _label(stream, parts))

    def inspect(self, shard: Shard, environment: Mapping[str, str]) -> Iterator[Found]:
        """Yield every sample; members with other names are not skipped here."""
        extensions = _extensions(shard.extension)
        with opened(shard.path) as (stream, size):
            read, index = members(stream, size), shard.first
            while sample := [member for _, member in zip(extensions, read, strict=False)]:
                wanted = [f"{key_of(index)}.{extension}" for extension in extensions]
                names = [member.name for member in sample]
                if names != wanted:
                    # Where the next sample begins is unknown.
                    raise ValueError(
                        f"after {index - shard.first} samples come {_shown(names)}, not {_shown(wanted)}"
                    )
                yield _found(stream, dict(zip(extensions, sample, strict=True)), key_of(index), shard)
                index += 1


class TarWriter:
    """Writes a tar of samples into a stream; a SampleWriter."""

    def __init__(self, stream: IO[bytes], extension: str) -> None:
        self._tar = tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)
        self._extension = extension

    def write(self, record: Provenance, image: bytes) -> None:
        """Add KEY.cls, KEY.json and KEY.<extension>, in alphabetical order."""
        parts = {"cls": str(record.label).encode(), "json": record.to_json(), self._extension: image}
        for name in sorted(parts):
            self.add_member(f"{record.key}.{name}", parts[name])

    def add_member(self, name: str, content: bytes) -> None:
        """Add a plain file."""
        member = _plain_file(name, len(content))
        self._tar.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        """Write the two blocks and the padding that end a tar."""
        self._tar.close()

    def abandon(self) -> None:
        """Write no more."""


def _samples(stream: IO[bytes], size: int, shard: Shard) -> Iterator[_Parts]:
    """Yield the members of each sample of a tar of `size` bytes.

    Raises ValueError if a sample lacks a member, has one twice, or stands out of order.
    """
    extensions = _extensions(shard.extension)
    known = re.compile(rf"[0-9]{{9,}}\.({'|'.join(extensions)})")
    index, parts = shard.first, _Parts()
    for member in members(stream, size):
        if not known.fullmatch(member.name):
            continue
        wanted = extensions[len(parts)]
        if member.name != f"{key_of(index)}.{wanted}":
            raise ValueError(f"{member.name} stands where {key_of(index)}.{wanted} must")
        parts[wanted] = member
        if len(parts) == len(extensions):
            yield parts
            index, parts = index + 1, _Parts()
    if parts:
        raise ValueError(f"{key_of(index)} is not whole")


def _extensions(extension: str) -> list[str]:
    """Return the extensions of a sample's members, in their order."""
    return sorted(("cls", "json", extension))


def _read(stream: IO[bytes], parts: _Parts, shard: Shard) -> tuple[Provenance, bytes]:
    if parts["json"].size > MAX_RECORD:
        raise ValueError("its record is too large")
    return read_record(content(stream, parts["json"]), shard.form), content(stream, parts[shard.extension])


def _label(stream: IO[bytes], parts: _Parts) -> int:
    """Read the label of a sample. Raises ValueError if it is not a number."""
    raw = content(stream, parts["cls"]) if parts["cls"].size < 10 else b""
    if not _LABEL.fullmatch(raw):
        raise ValueError(f"{parts['cls'].name} holds no label")
    return int(raw)


def _found(stream: IO[bytes], sample: _Parts, key: str, shard: Shard) -> Found:
    """Read a sample with all that is wrong with its headers, its label or its record."""
    raw = {extension: content(stream, member) for extension, member in sample.items()}
    faults = [
        f"{member.name} has a header with a time, an owner or a type: they must be empty"
        for member in sample.values()
        if member.header != _plain_file(member.name, member.size).tobuf(tarfile.USTAR_FORMAT)
    ]
    image = raw[shard.extension]
    try:
        if len(raw["json"]) > MAX_RECORD:
            raise ValueError("is too large")
        record = read_record(raw["json"], shard.form)
    except ValueError as error:
        return Found(None, image, [*faults, f"{key}.json is not a provenance record: {error}"])
    if raw["cls"] != str(record.label).encode():
        faults.append(f"{key}: its label is {raw['cls'][:20]!r}, its record's {record.label}")
    return Found(record, image, faults)


def _plain_file(name: str, size: int) -> tarfile.TarInfo:
    """Return the header of a file; its time, owner and group stay zero."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _shown(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names) or "nothing"
