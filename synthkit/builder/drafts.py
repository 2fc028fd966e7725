"""Drafts: the images of an unfinished shard, kept by a build that is asked to stop, for the next one.

A draft is a tar, whatever its shard is going to be: first a member that says where the samples come from,
then the samples, in any order. It only saves time: one that cannot be read, or comes from other inputs or
another environment, is ignored.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import msgspec

from synthkit.release.containers.tar import TarWriter
from synthkit.release.records import read_record
from synthkit.release.shards import Origin  # noqa: TC001 (msgspec reads the annotation)
from synthkit.release.tar_members import content, members, opened
from synthkit.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from synthkit.release.records import Provenance

# By index, since images whose draws were rejected come late.
Samples = dict[int, tuple["Provenance", bytes]]
_HEAD = "draft.json"


class _Head(msgspec.Struct, frozen=True):
    """The first member: where the samples come from, and the SHA-256 of all their records."""

    origin: Origin
    records: str


def draft_path(folder: Path, shard_name: str) -> Path:
    """Return the path of the draft of a shard in a folder."""
    return (folder / shard_name).with_suffix(".draft")


def write_draft(path: Path, made: Samples, origin: Origin, extension: str) -> None:
    """Write the images that are made of a shard, with their records."""
    buffer = io.BytesIO()
    tar = TarWriter(buffer, extension)
    tar.add_member(_HEAD, msgspec.json.encode(_Head(origin, _sha256(record for record, _ in made.values()))))
    for record, image in made.values():
        tar.write(record, image)
    tar.close()
    write_atomically(path, buffer.getvalue())


def read_draft(path: Path, origin: Origin, extension: str, form: int) -> Samples:
    """Return the images of a draft; none if it is missing or damaged, or if its origin is another one.

    `form` is the format of the release.
    """
    try:
        with opened(path) as (stream, size):
            files = {member.name: content(stream, member) for member in members(stream, size)}
        head = msgspec.json.decode(files.pop(_HEAD), type=_Head)
        made = dict(_sample(files, name, extension, form) for name in files if name.endswith(".json"))
        same = head == _Head(origin, _sha256(record for record, _ in made.values()))
        return made if same else {}
    except (OSError, ValueError, KeyError):
        return {}


def _sha256(records: Iterable[Provenance]) -> str:
    digest = hashlib.sha256()
    for record in records:
        digest.update(record.to_json())
    return digest.hexdigest()


def _sample(
    files: dict[str, bytes], name: str, extension: str, form: int
) -> tuple[int, tuple[Provenance, bytes]]:
    record, image = read_record(files[name], form), files[f"{name.removesuffix('json')}{extension}"]
    if hashlib.sha256(image).hexdigest() != record.image_sha256:
        raise ValueError(name)
    return int(record.key), (record, image)
