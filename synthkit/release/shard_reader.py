"""Reads the samples of a shard, of whichever container. Every command that reads images uses this module.

An image is decoded in the format that the release states and only if it has the size that its record states;
a name in the shard never chooses the decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.errors import ReleaseError, UnreadableImage
from synthkit.release.containers import container_of
from synthkit.release.containers.base import Shard
from synthkit.release.image_header import FORMATS, read_header
from synthkit.sources.decoding import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from synthkit.release.records import Provenance


def read_sample(shard: Path, first: int, index: int, extension: str, form: int) -> tuple[Provenance, bytes]:
    """Read the record and the image file with an index, from a shard whose first image has the index `first`.

    `form` is the format of the release. Raises OSError, or ValueError if the sample is not there or its
    record cannot be read.
    """
    (found,) = read_some(shard, first, [index], extension, form)
    return found


def read_some(
    shard: Path, first: int, indices: Sequence[int], extension: str, form: int
) -> Iterator[tuple[Provenance, bytes]]:
    """Yield the records and the image files with some indices, which ascend. Raises as `read_sample`."""
    return container_of(shard).read_some(Shard(shard, first, extension, form), indices)


def read_samples(shard: Path, first: int, extension: str, form: int) -> Iterator[tuple[Provenance, bytes]]:
    """Yield the record and the image file of every sample of a shard. Raises what `read_sample` raises."""
    return container_of(shard).read_all(Shard(shard, first, extension, form))


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
