"""Checks a release folder against its manifest and the shape that every reader relies on."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.manifest import MANIFEST, unlisted
from synthkit.records import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from synthkit.manifest import FileFacts, Manifest

_CHUNK = 1 << 20
_MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and in which file."""

    path: str
    reason: str


def verify_release(release: Path, manifest: Manifest, advance: Callable[[int], None]) -> list[Fault]:
    """Check every file of a release; `advance` is told of bytes. Finds every fault, not the first."""
    faults = [*_strays(release, manifest), *_totals(manifest)]
    index = 0
    for file in manifest.files:
        found = list(_check_file(release, file, advance))
        faults.extend(found)
        if file.images is not None:
            if not found:
                faults.extend(_check_shard(release / file.path, file, manifest, index))
            index += file.images
    return faults


def _strays(release: Path, manifest: Manifest) -> Iterator[Fault]:
    for name in unlisted(release, manifest):
        # git and the Hub's client keep files of their own in a copy.
        if not any(part.startswith(".") for part in name.split("/")):
            yield Fault(name, "is not in the manifest")


def _totals(manifest: Manifest) -> Iterator[Fault]:
    in_shards = sum(shard.images or 0 for shard in manifest.shards)
    in_classes = sum(item.synthetic for item in manifest.classes)
    if not manifest.images == in_shards == in_classes:
        yield Fault(
            MANIFEST,
            f"counts differ: {manifest.images} images, {in_shards} in shards, {in_classes} in classes",
        )


def _check_file(release: Path, file: FileFacts, advance: Callable[[int], None]) -> Iterator[Fault]:
    path = release / file.path
    if not path.is_file():
        yield Fault(file.path, "is missing")
        return
    size = path.stat().st_size
    if size != file.bytes:
        yield Fault(file.path, f"has {size:,} bytes, the manifest says {file.bytes:,}")
        return
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    if digest.hexdigest() != file.sha256:
        yield Fault(file.path, f"has sha256 {digest.hexdigest()}, the manifest says {file.sha256}")


def _check_shard(tar: Path, file: FileFacts, manifest: Manifest, first: int) -> Iterator[Fault]:
    expected = sorted(("cls", "json", manifest.extension))
    images = 0
    members: list[str] = []
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                yield from _check_header(member, file.path)
                if member.name.endswith(".json") and member.isreg():
                    yield from _check_record(archive, member, file.path, manifest)
                members.append(member.name)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        yield Fault(file.path, f"is not a tar that can be read: {error}")
        return
    for start in range(0, len(members), len(expected)):
        key = key_of(first + images)
        if members[start : start + len(expected)] != [f"{key}.{extension}" for extension in expected]:
            found = ", ".join(members[start : start + len(expected)])
            yield Fault(file.path, f"sample {key} should be {', '.join(expected)}; found {found}")
            return
        images += 1
    if images != file.images:
        yield Fault(file.path, f"holds {images} images, the manifest says {file.images}")


def _check_header(member: tarfile.TarInfo, path: str) -> Iterator[Fault]:
    stamps = (member.mtime, member.uid, member.gid, member.uname, member.gname)
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.pax_headers:
        yield Fault(path, f"{member.name} is not a plain ustar file")
    if stamps != (0, 0, 0, "", ""):
        yield Fault(path, f"{member.name} has an owner or a time; they must be zero")


def _check_record(
    archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, manifest: Manifest
) -> Iterator[Fault]:
    record = _read_record(archive, member)
    try:
        digest, name, label = record["recipe_digest"], record["class_name"], record["label"]
        known = manifest.classes[label].name if label >= 0 else None
    except (KeyError, TypeError, IndexError):
        yield Fault(path, f"{member.name} is not a provenance record of this release")
        return
    if digest != manifest.recipe_digest:
        yield Fault(
            path, f"{member.name} belongs to recipe {digest!s:.12}, not {manifest.recipe_digest[:12]}"
        )
    if name != known:
        yield Fault(path, f"{member.name} says that label {label} is {name!s:.40}, the manifest {known}")


def _read_record(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    """A record, or an empty one for what is none. Nothing large is read for it."""
    stream = archive.extractfile(member) if member.size <= _MAX_RECORD and not member.issparse() else None
    try:
        record = json.loads(stream.read()) if stream is not None else {}
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
