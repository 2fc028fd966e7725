"""Checks one shard: every byte of the tar, and the records and images in it.

The shard may be a stranger's. Nothing is extracted, no size in the file is trusted beyond the file's own
length, an image is decoded only if its header is in order, and memory holds one sample and the records.

Source: POSIX.1-1988 ustar and the WebDataset format, as `release/shards.py` writes them.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, NamedTuple

from synthkit.errors import UnreadableImage
from synthkit.recipe.filters import MAX_DRAWS
from synthkit.release.image import against_release
from synthkit.release.image_header import FORMATS, check_png_data, read_header
from synthkit.release.likeness import pixel_digest
from synthkit.release.marks import mark_of
from synthkit.release.records import Provenance, key_of, read_record
from synthkit.release.shard_reader import MAX_RECORD
from synthkit.release.tar_members import content, members, opened
from synthkit.sources.decoding import decode
from synthkit.verification.content_credentials import image_faults, signer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from synthkit.release.image_signer import ImageSigner
    from synthkit.release.manifest import Manifest


@dataclass(slots=True)
class ShardReport:
    """What a shard holds, and what is wrong with it; a record that cannot be read is None.

    `pixels` are the digests of the images that were decoded.
    """

    faults: list[str] = field(default_factory=list)
    records: list[Provenance | None] = field(default_factory=list)
    labels: Counter[int] = field(default_factory=Counter)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)


class _Member(NamedTuple):
    name: str
    header: bytes
    body: bytes


def check_shard(path: Path, first: int, manifest: Manifest, *, deep: bool) -> ShardReport:
    """Check a shard whose first image has the index `first`; `deep` also decodes every image."""
    report = ShardReport()
    signer = _signer(manifest)
    extensions = sorted(("cls", "json", manifest.extension))
    try:
        with opened(path) as (stream, size):
            read = _members(stream, size)
            index = first
            while sample := _take(read, len(extensions)):
                wanted = [f"{key_of(index)}.{extension}" for extension in extensions]
                names = [member.name for member in sample]
                if names != wanted:
                    # Where the next sample begins is unknown.
                    raise ValueError(
                        f"after {index - first} samples come {_shown(names)}, not {_shown(wanted)}"
                    )
                _check_sample(sample, key_of(index), extensions, manifest, signer, report, deep=deep)
                index += 1
    except (OSError, ValueError) as error:
        report.faults.append(f"is not whole: {error}")
    return report


def _signer(manifest: Manifest) -> ImageSigner | None:
    try:
        return signer_of(manifest)
    except ValueError:
        return None


def _take(members: Iterator[_Member], count: int) -> list[_Member]:
    return [member for _, member in zip(range(count), members, strict=False)]


def _members(stream: IO[bytes], size: int) -> Iterator[_Member]:
    for member in members(stream, size):
        yield _Member(member.name, member.header, content(stream, member))


def _check_sample(
    sample: list[_Member],
    key: str,
    extensions: list[str],
    manifest: Manifest,
    signer: ImageSigner | None,
    report: ShardReport,
    *,
    deep: bool,
) -> None:
    report.records.append(None)
    for member in sample:
        if member.header != _header(member.name, len(member.body)):
            report.faults.append(
                f"{member.name} has a header with a time, an owner or a type: they must be empty"
            )
    parts = {extension: member.body for extension, member in zip(extensions, sample, strict=True)}
    try:
        if len(parts["json"]) > MAX_RECORD:
            raise ValueError("is too large")
        record = read_record(parts["json"], manifest.format_version)
    except ValueError as error:
        report.faults.append(f"{key}.json is not a provenance record: {error}")
        return
    report.records[-1] = record
    report.labels[record.label] += 1
    faults = [*against_release(record, key, manifest), *_against_parts(record, parts, manifest)]
    image = parts[manifest.extension]
    of_image = list(_against_header(record, image, manifest, signer))
    if deep and not of_image:
        of_image += _decoded(record, image, manifest.extension, report)
    faults += of_image
    report.faults += [f"{key}: {fault}" for fault in faults]


def _against_parts(record: Provenance, parts: dict[str, bytes], manifest: Manifest) -> Iterator[str]:
    """Yield where the label or the image beside a record is not the one that the record states."""
    image = parts[manifest.extension]
    if parts["cls"] != str(record.label).encode():
        yield f"its label is {parts['cls'][:20]!r}, its record's {record.label}"
    if hashlib.sha256(image).hexdigest() != record.image_sha256:
        yield "its image is not the one in its record (sha256)"


def _against_header(
    record: Provenance, image: bytes, manifest: Manifest, signer: ImageSigner | None
) -> Iterator[str]:
    """Yield where an image's header contradicts its name, its record, or the mark that it must have."""
    try:
        header = read_header(image, manifest.extension)
    except ValueError as error:
        yield f"its image is not as a build writes it: {error}"
        return
    if header.size != (record.width, record.height):
        yield f"its image is {header.width}x{header.height}, its record's {record.width}x{record.height}"
    yield from _against_mark(record, header.xmp, manifest)
    # A certificate that cannot be read is a fault of the manifest.
    if signer is not None or manifest.c2pa is None:
        yield from image_faults(image, manifest.extension, record, header.c2pa, signer)


def _against_mark(record: Provenance, xmp: bytes | None, manifest: Manifest) -> Iterator[str]:
    if xmp is None:
        yield "its image lacks the mark that says it is generated (XMP)"
    # A record that states too many draws is a fault already.
    elif record.attempt < MAX_DRAWS and xmp != mark_of(record, manifest.name):
        yield "its image has another mark (XMP) than its record gives"


def _decoded(record: Provenance, raw: bytes, extension: str, report: ShardReport) -> Iterator[str]:
    try:
        if extension == "png":
            check_png_data(raw, (record.width, record.height))
        report.pixels.append(pixel_digest(decode(raw, record.key, (FORMATS[extension],))))
    except UnreadableImage as error:
        yield f"its image cannot be decoded: {error.reason}"
    except ValueError as error:
        yield f"its image cannot be decoded: {error}"


def _header(name: str, size: int) -> bytes:
    """Return the header that a member with a name and a size must have."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.USTAR_FORMAT)


def _shown(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names) or "nothing"
