"""Deterministic WebDataset shards, written atomically: a shard exists when its sidecar does.

Source: the WebDataset format (tar members KEY.EXT, one sample's members adjacent) and POSIX.1-1988
ustar. Times, owners and groups are zero, members stand in alphabetical order of extension.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Self

from synthkit.records import Provenance, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

SPLIT = "train"


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """A finished shard, as its sidecar states it."""

    name: str
    images: int
    bytes: int
    sha256: str


def shard_name(shard: int, shards: int) -> str:
    """train-00003-of-00012.tar"""
    return f"{SPLIT}-{shard:05d}-of-{shards:05d}.tar"


class ShardWriter:
    """Writes one shard and its rows of provenance; nothing has a final name before all of it is whole.

    Use it as a context manager: leaving it without an error finishes the shard.
    """

    def __init__(self, folder: Path, name: str, extension: str) -> None:
        self._folder, self._name, self._extension = folder, name, extension
        self._stream = _temporary(folder / name).open("wb")
        self._tar = tarfile.TarFile(fileobj=self._stream, mode="w", format=tarfile.USTAR_FORMAT)
        self._records: list[Provenance] = []

    def write(self, record: Provenance, image: bytes) -> None:
        """Add one sample: KEY.cls, KEY.json and KEY.<extension>."""
        members = {
            "cls": str(record.label).encode(),
            "json": json.dumps(record.to_json(), separators=(",", ":")).encode(),
            self._extension: image,
        }
        for extension in sorted(members):
            # Times, uid, gid and names are zero and empty unless set.
            member = tarfile.TarInfo(f"{record.key}.{extension}")
            member.size = len(members[extension])
            member.mode = 0o644
            self._tar.addfile(member, io.BytesIO(members[extension]))
        self._records.append(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._stream.close()

    def _finish(self) -> None:
        self._tar.close()
        _sync(self._stream)
        tar = self._folder / self._name
        facts = facts_of(_temporary(tar), self._name, len(self._records))
        write_records(_temporary(records_path(tar)), [self._records])
        _temporary(records_path(tar)).rename(records_path(tar))
        _temporary(tar).rename(tar)
        write_atomically(sidecar_path(tar), json.dumps(asdict(facts)).encode())


def finished(folder: Path, name: str) -> ShardFacts | None:
    """The facts of a shard if it is whole, else None."""
    tar = folder / name
    try:
        facts = ShardFacts(**json.loads(sidecar_path(tar).read_bytes()))
        whole = facts.name == name and tar.stat().st_size == facts.bytes and records_path(tar).is_file()
    except (OSError, ValueError, TypeError):
        return None
    return facts if whole else None


def facts_of(tar: Path, name: str, images: int) -> ShardFacts:
    """Size and SHA-256 of a tar on disk."""
    with tar.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ShardFacts(name, images, tar.stat().st_size, digest)


def sidecar_path(tar: Path) -> Path:
    """Where the facts of a shard lie; it is written last."""
    return tar.with_suffix(".json")


def records_path(tar: Path) -> Path:
    """Where the provenance of a shard's images lies until the release collects it."""
    return tar.with_suffix(".parquet")


def write_records(path: Path, groups: Iterable[Iterable[Provenance]]) -> None:
    """A Parquet file of provenance records, one row group for each group of records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for records in groups:
            rows = [record.to_json() for record in records]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def read_member(tar: Path, member: str) -> bytes:
    """One member of a shard, by its name. Raises KeyError if it is not there."""
    with tarfile.open(tar) as archive:
        stream = archive.extractfile(member)
        if stream is None:
            raise KeyError(member)
        return stream.read()


def write_atomically(path: Path, content: bytes) -> None:
    """A file that is either whole or not there, also after a power cut."""
    temporary = _temporary(path)
    with temporary.open("wb") as stream:
        stream.write(content)
        _sync(stream)
    temporary.rename(path)


def _sync(stream: IO[bytes]) -> None:
    """Flush a file down to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")
