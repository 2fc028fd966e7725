"""Images of a release, found by key or read in order: record, image file, and the shard they lie in."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from synthkit.conditioning import METHODS
from synthkit.errors import ReleaseError, one_line
from synthkit.recipe.filters import MAX_DRAWS
from synthkit.release.records import key_of
from synthkit.release.shard_reader import decode_image, read_samples, read_some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from synthkit.release.manifest import Manifest
    from synthkit.release.records import Provenance


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image as a release holds it: its record, the bytes of its file, and the path of its shard."""

    record: Provenance
    image: bytes = field(repr=False)
    shard: str
    extension: str

    def pixels(self) -> Image.Image:
        """Decode the RGB image. Raises ReleaseError if the file is not one that a build writes."""
        size = (self.record.width, self.record.height)
        return decode_image(self.image, self.record.key, self.extension, size)


def read_image(release: Path, manifest: Manifest, key: str) -> StoredImage:
    """Read the image with a key, leading zeros or not.

    Raises ReleaseError if there is no such key, or if the sample is damaged or not of this release.
    """
    (found,) = read_chosen(release, manifest, [index_of(manifest, key)])
    return found


def read_chosen(
    release: Path, manifest: Manifest, indices: Sequence[int], advance: Callable[[int], None] | None = None
) -> Iterator[StoredImage]:
    """Yield the images with some indices, which ascend; of other images nothing is read.

    `advance` is called with the number of shards that are done. Raises ReleaseError if the manifest's shards
    do not hold one, or if a sample is damaged or not of this release.
    """
    first, form, rest = 0, manifest.format_version, list(indices)
    for shard in manifest.shards:
        end = first + (shard.images or 0)
        here = rest[: bisect_left(rest, end)]
        rest = rest[len(here) :]
        if here:
            with _release_errors(release, shard.path, key_of(here[0]) if len(here) == 1 else "a sample"):
                samples = read_some(release / shard.path, first, here, manifest.extension, form)
                for index, found in zip(here, samples, strict=True):
                    yield _checked(release, manifest, shard.path, key_of(index), found)
        first = end
        if advance is not None:
            advance(1)
    if rest:
        raise ReleaseError(
            f"{release}: the manifest's shards hold no {key_of(rest[0])}; run synthkit verify {release}"
        )


def read_images(release: Path, manifest: Manifest) -> Iterator[StoredImage]:
    """Yield every image of a release, in order. Raises ReleaseError for a damaged shard or sample."""
    index, form = 0, manifest.format_version
    for shard in manifest.shards:
        first = index
        with _release_errors(release, shard.path, "a sample"):
            for found in read_samples(release / shard.path, first, manifest.extension, form):
                yield _checked(release, manifest, shard.path, key_of(index), found)
                index += 1
            if index - first != shard.images:
                raise ValueError(f"there are {index - first} images, the manifest says {shard.images}")


def index_of(manifest: Manifest, key: str) -> int:
    """Return the index of a key, leading zeros or not. Raises ReleaseError if there is no such image."""
    index = int(key) if key.isascii() and key.isdecimal() and len(key) < 20 else -1
    if not 0 <= index < manifest.images:
        last = key_of(manifest.images - 1)
        raise ReleaseError(f"{manifest.name} has no image {key[:40]}; its keys are {key_of(0)} to {last}")
    return index


@contextmanager
def _release_errors(release: Path, shard: str, what: str) -> Iterator[None]:
    """Turn OSError and ValueError from reading a shard into a ReleaseError of one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = one_line(told, longest=None)
        raise ReleaseError(
            f"{release / shard}: {what} cannot be read: {reason}; run synthkit verify {release}"
        ) from None


def _checked(
    release: Path, manifest: Manifest, shard: str, key: str, found: tuple[Provenance, bytes]
) -> StoredImage:
    """Return a sample as an image. Raises ReleaseError if its record is of another image or release."""
    record, image = found
    where = f"{release / shard}: {key}"
    if hashlib.sha256(image).hexdigest() != record.image_sha256 or record.key != key:
        raise ReleaseError(f"{where} is not the image of its record; run synthkit verify {release}")
    fault = next(against_release(record, key, manifest), None)
    if fault is not None:
        raise ReleaseError(f"{where}: {fault}; run synthkit verify {release}")
    return StoredImage(record, image, shard, manifest.extension)


def against_release(record: Provenance, key: str, manifest: Manifest) -> Iterator[str]:
    """Yield each fact that a record states about its release and that the manifest states differently."""
    known = manifest.classes[record.label].name if record.label < len(manifest.classes) else None
    pairs = (
        ("key", record.key, key),
        ("class_name", record.class_name, known),
        ("method", record.method, manifest.method),
        ("model", record.model, manifest.generator.name),
        ("revision", record.revision, manifest.generator.revision),
        (record.DIGEST, record.digest, manifest.digest_in_records),
        ("width", record.width, manifest.width),
        ("height", record.height, manifest.height),
    )
    for name, said, wanted in pairs:
        if said != wanted:
            yield f"its record's {name} is {said!s:.64}, the release's is {wanted!s:.64}"
    yield from _against_method(record)


def _against_method(record: Provenance) -> Iterator[str]:
    """Check the numbers of real images, crops and draws against what the method and recipes allow."""
    method = METHODS.get(record.method)
    if method is None:
        yield f"its record's method is {record.method:.64}, which this synthkit does not know"
        return
    count = len(record.sources)
    if count != method.sources:
        yield f"its record names {count} real image(s), {record.method} takes {method.sources}"
    if len(record.crops) not in (0, count) or any(len(crop) != 4 for crop in record.crops):
        yield "its record's crops are not an [x, y, width, height] for each real image"
    if record.attempt >= MAX_DRAWS:
        # A replay draws as often as the record says.
        yield f"its record's attempt is {record.attempt}, no recipe allows more than {MAX_DRAWS} draws"
