"""Checks one shard: every byte of it, and the records and images in it.

The shard may be a stranger's. Nothing is extracted, no size in the file is trusted beyond the file's own
length, an image is decoded only if its header is in order, and memory holds one sample, or one row group, and
the records. How samples are stored is the container's to check (`release/containers/`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthkit.errors import UnreadableImage
from synthkit.recipe.filters import MAX_DRAWS
from synthkit.release.containers import container_of
from synthkit.release.containers.base import Shard
from synthkit.release.image import against_release
from synthkit.release.image_header import FORMATS, check_png_data, read_header
from synthkit.release.likeness import pixel_digest
from synthkit.release.marks import mark_of
from synthkit.release.records import Provenance, Provenance8, key_of
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


def check_shard(path: Path, first: int, manifest: Manifest, *, deep: bool) -> ShardReport:
    """Check a shard whose first image has the index `first`; `deep` also decodes every image."""
    report = ShardReport()
    signer = _signer(manifest)
    shard = Shard(path, first, manifest.extension, manifest.format_version)
    environment = manifest.environment_of(first)
    try:
        for index, sample in enumerate(container_of(path).inspect(shard, environment), first):
            report.records.append(sample.record)
            report.faults += sample.faults
            if sample.record is not None:
                _check_sample(sample.record, sample.image, key_of(index), manifest, signer, report, deep=deep)
    except (OSError, ValueError) as error:
        report.faults.append(f"is not whole: {error}")
    return report


def _signer(manifest: Manifest) -> ImageSigner | None:
    try:
        return signer_of(manifest)
    except ValueError:
        return None


def _check_sample(
    record: Provenance,
    image: bytes,
    key: str,
    manifest: Manifest,
    signer: ImageSigner | None,
    report: ShardReport,
    *,
    deep: bool,
) -> None:
    """Check a record and the image beside it."""
    report.labels[record.label] += 1
    faults = list(against_release(record, key, manifest))
    if hashlib.sha256(image).hexdigest() != record.image_sha256:
        faults.append("its image is not the one in its record (sha256)")
    of_image = list(_against_header(record, image, manifest, signer))
    if deep and not of_image:
        of_image += _decoded(record, image, manifest.extension, report)
    report.faults += [f"{key}: {fault}" for fault in (*faults, *of_image)]


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
        what = "which real image it is" if isinstance(record, Provenance8) else "it is generated"
        yield f"its image lacks the mark that says {what} (XMP)"
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
