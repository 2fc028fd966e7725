"""Deterministic WebDataset shards, written atomically: a shard exists when its sidecar does.

Source: the WebDataset format (tar members KEY.EXT, one sample's members adjacent) and POSIX.1-1988
ustar. Times, owners and groups are zero, members stand in alphabetical order of extension.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Self

from synthkit.hashing import sha256_of
from synthkit.records import Provenance, arrow_schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

SPLIT = "train"
_MAX_MEMBER = 1 << 28


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """A finished shard, as its sidecar states it."""

    name: str
    images: int
    bytes: int
    sha256: str
    records_bytes: int


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
            "json": record.to_json(),
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
        records = _parquet(self._records)
        write_atomically(records_path(tar), records)
        written = _temporary(tar)
        facts = ShardFacts(
            name=self._name,
            images=len(self._records),
            bytes=written.stat().st_size,
            sha256=sha256_of(written),
            records_bytes=len(records),
        )
        _rename(written, tar)
        write_atomically(sidecar_path(tar), json.dumps(asdict(facts)).encode())


def finished(folder: Path, name: str) -> ShardFacts | None:
    """The facts of a shard if it is whole, else None."""
    tar = folder / name
    try:
        facts = ShardFacts(**json.loads(sidecar_path(tar).read_bytes()))
        sizes = (tar.stat().st_size, records_path(tar).stat().st_size)
    except (OSError, ValueError, TypeError):
        return None
    whole = facts.name == name and sizes == (facts.bytes, facts.records_bytes)
    return facts if whole else None


def is_intact(folder: Path, facts: ShardFacts) -> bool:
    """Whether a shard's content is what its sidecar says; reads all of it."""
    return sha256_of(folder / facts.name) == facts.sha256


def sidecar_path(tar: Path) -> Path:
    """Where the facts of a shard lie; it is written last."""
    return tar.with_suffix(".json")


def records_path(tar: Path) -> Path:
    """Where the provenance of a shard's images lies until the release collects it."""
    return tar.with_suffix(".parquet")


def read_member(tar: Path, member: str) -> bytes:
    """One member of a shard, by its name. Raises KeyError if it is not there, or no plain file."""
    with tarfile.open(tar, "r:") as archive:
        found = archive.getmember(member)
        # A link may lead to itself, and holes have no end.
        if not found.isreg() or found.issparse() or found.size > tar.stat().st_size:
            raise KeyError(member)
        stream = archive.extractfile(found)
        if stream is None:
            raise KeyError(member)
        return stream.read()


def write_atomically(path: Path, content: bytes) -> None:
    """A file that is either whole or not there, also after a power cut."""
    temporary = _temporary(path)
    with temporary.open("wb") as stream:
        stream.write(content)
        _sync(stream)
    _rename(temporary, path)


def _parquet(records: Sequence[Provenance]) -> bytes:
    """A Parquet file of provenance records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([record.to_row() for record in records], schema=arrow_schema())
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _rename(old: Path, new: Path) -> None:
    """Give a file its final name, and the name to the disk, before anything that relies on it."""
    old.rename(new)
    folder = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sync(stream: IO[bytes]) -> None:
    """Flush a file down to the disk."""
    stream.flush()
    os.fsync(stream.fileno())


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")
