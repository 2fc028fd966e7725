"""Writes shards into a work folder: a shard is finished once its sidecar exists.

In a work folder a shard is three files: the shard itself, of one of the containers, the Parquet file of its
records (`.records`), and the sidecar (`.json`), a file with sizes and hashes that is written last. A release
has the shards, and the records of many shards in one Parquet file.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from synthkit.release.containers import container_of
from synthkit.release.records import Provenance, table_of
from synthkit.system.files import link, rename, sha256_of, sync, sync_file, temporary_name, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


class Origin(msgspec.Struct, frozen=True):
    """What shards of one build share: the digest of what decides images, and the environment."""

    digest: str
    environment: dict[str, str]


class ShardFacts(msgspec.Struct, frozen=True):
    """The sidecar of a finished shard: sizes and SHA-256 of the shard and of its Parquet file of records.

    `plan` is the SHA-256 of what was planned for it: labels, seeds, real images (`builder/shard_plans.py`).
    """

    name: str
    images: int
    bytes: int
    sha256: str
    records_bytes: int
    records_sha256: str
    origin: Origin
    plan: str


class ShardWriter:
    """Writes one shard, its Parquet file of records and its sidecar.

    Use it as a context manager: the files get their final names when the block ends without an error.
    """

    def __init__(self, folder: Path, name: str, extension: str, origin: Origin, plan: str) -> None:
        self._folder, self._name = folder, name
        self._origin, self._plan = origin, plan
        self._written = temporary_name(folder / name)
        self._stream = self._written.open("wb")
        self._samples = container_of(name).writer(self._stream, extension)
        self._records: list[Provenance] = []

    def write(self, record: Provenance, image: bytes) -> None:
        """Add one sample to the shard, and its record to the Parquet file."""
        self._samples.write(record, image)
        self._records.append(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._stream:
                if kind is None:
                    self._finish()
        finally:
            self._samples.abandon()
            # After success it has been renamed.
            self._written.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._samples.close()
        sync(self._stream)
        shard = self._folder / self._name
        records = _parquet(self._records)
        write_atomically(records_path(shard), records)
        facts = ShardFacts(
            name=self._name,
            images=len(self._records),
            bytes=self._written.stat().st_size,
            sha256=sha256_of(self._written),
            records_bytes=len(records),
            records_sha256=hashlib.sha256(records).hexdigest(),
            origin=self._origin,
            plan=self._plan,
        )
        rename(self._written, shard)
        write_atomically(sidecar_path(shard), msgspec.json.encode(facts))


def take(
    shard: Path, records: Sequence[Provenance], folder: Path, facts: Callable[[bytes], ShardFacts]
) -> None:
    """Link the shard of a release into a folder, with its Parquet file of records; the sidecar comes last.

    `facts` returns what the sidecar states, given the content of the Parquet file.
    """
    table = _parquet(records)
    stated = facts(table)
    place = folder / stated.name
    write_atomically(records_path(place), table)
    temporary = temporary_name(place)
    try:
        link(shard.resolve(), temporary)
        sync_file(temporary)
        rename(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)
    write_atomically(sidecar_path(place), msgspec.json.encode(stated))


def finished(folder: Path, name: str) -> ShardFacts | None:
    """Return the sidecar of a shard if its files have the sizes it states, else None."""
    shard = folder / name
    facts = read_sidecar(sidecar_path(shard))
    if facts is None:
        return None
    try:
        sizes = (shard.stat().st_size, records_path(shard).stat().st_size)
    except OSError:
        return None
    whole = facts.name == name and sizes == (facts.bytes, facts.records_bytes)
    return facts if whole else None


def read_sidecar(path: Path) -> ShardFacts | None:
    """Read a sidecar; return None if there is no such file, or if it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ShardFacts)
    except (OSError, ValueError):
        return None


def adopt(source: Path, facts: ShardFacts, folder: Path) -> None:
    """Link a finished shard from one folder into another, its sidecar last."""
    receive(facts, folder, lambda name, target: link(source / name, target))


def receive(facts: ShardFacts, folder: Path, bring: Callable[[str, Path], None]) -> None:
    """Bring a finished shard into a folder, its sidecar last.

    `bring` is called with the name of each file and the path at which to put it.
    """
    shard = folder / facts.name
    for place in (shard, records_path(shard), sidecar_path(shard)):
        temporary = temporary_name(place)
        try:
            bring(place.name, temporary)
            sync_file(temporary)
            rename(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def is_intact(folder: Path, facts: ShardFacts) -> bool:
    """Hash a shard and its Parquet file of records; return whether both are what its sidecar says."""
    shard = folder / facts.name
    wanted = (facts.sha256, facts.records_sha256)
    return (sha256_of(shard), sha256_of(records_path(shard))) == wanted


def sidecar_path(shard: Path) -> Path:
    """Return the path of a shard's sidecar."""
    return shard.with_suffix(".json")


def records_path(shard: Path) -> Path:
    """Return the path of the Parquet file with the records of one shard."""
    return shard.with_suffix(".records")


def remove_half_written(folder: Path, name: str) -> None:
    """Remove the unfinished files of a shard, which its writer left when it was killed."""
    for leftover in folder.glob(f".{Path(name).stem}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _parquet(records: Sequence[Provenance]) -> bytes:
    """Return a Parquet file of provenance records."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table_of(records), buffer, compression="zstd")
    return buffer.getvalue()
