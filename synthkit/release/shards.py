"""Writes WebDataset shards: equal samples give equal bytes, and a shard is finished once its sidecar exists.

In a work folder a shard is three files: the tar, the Parquet file of its records, and the sidecar, a JSON
file with sizes and hashes that is written last. A release has the tars, and all records in one Parquet file.

Source: the WebDataset format (tar members KEY.EXT, one sample's members adjacent) and POSIX.1-1988
ustar. Times, owners and groups are zero, members stand in alphabetical order of extension.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Self

import msgspec

from synthkit.release.records import KINDS, Provenance, arrow_schema
from synthkit.system.files import link, rename, sha256_of, sync, sync_file, temporary_name, write_atomically
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa


class Origin(msgspec.Struct, frozen=True):
    """What shards of one build share: the digest of what decides images, and the environment."""

    digest: str
    environment: dict[str, str]


class ShardFacts(msgspec.Struct, frozen=True):
    """The sidecar of a finished shard: sizes and SHA-256 of its tar and of its Parquet file of records.

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
        self._folder, self._name, self._extension = folder, name, extension
        self._origin, self._plan = origin, plan
        self._written = temporary_name(folder / name)
        self._stream = self._written.open("wb")
        self._tar = tarfile.TarFile(fileobj=self._stream, mode="w", format=tarfile.USTAR_FORMAT)
        self._records: list[Provenance] = []

    def write(self, record: Provenance, image: bytes) -> None:
        """Add one sample to the tar, and its record to the Parquet file."""
        add_sample(self._tar, record, image, self._extension)
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
            # After success it has been renamed.
            self._written.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._tar.close()
        sync(self._stream)
        tar = self._folder / self._name
        records = _parquet(self._records)
        write_atomically(records_path(tar), records)
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
        rename(self._written, tar)
        write_atomically(sidecar_path(tar), msgspec.json.encode(facts))


def add_sample(tar: tarfile.TarFile, record: Provenance, image: bytes, extension: str) -> None:
    """Add KEY.cls, KEY.json and KEY.<extension> to a tar, in alphabetical order."""
    members = {"cls": str(record.label).encode(), "json": record.to_json(), extension: image}
    for name in sorted(members):
        add_member(tar, f"{record.key}.{name}", members[name])


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a plain file to a tar; its time, owner and group stay zero."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(content))


def take(
    tar: Path, records: Sequence[Provenance], folder: Path, facts: Callable[[bytes], ShardFacts]
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
        link(tar.resolve(), temporary)
        sync_file(temporary)
        rename(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)
    write_atomically(sidecar_path(place), msgspec.json.encode(stated))


def finished(folder: Path, name: str) -> ShardFacts | None:
    """Return the sidecar of a shard if its files have the sizes it states, else None."""
    tar = folder / name
    facts = read_sidecar(sidecar_path(tar))
    if facts is None:
        return None
    try:
        sizes = (tar.stat().st_size, records_path(tar).stat().st_size)
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
    tar = folder / facts.name
    for place in (tar, records_path(tar), sidecar_path(tar)):
        temporary = temporary_name(place)
        try:
            bring(place.name, temporary)
            sync_file(temporary)
            rename(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def is_intact(folder: Path, facts: ShardFacts) -> bool:
    """Hash a shard's tar and Parquet file; return whether both are what its sidecar says."""
    tar = folder / facts.name
    wanted = (facts.sha256, facts.records_sha256)
    return (sha256_of(tar), sha256_of(records_path(tar))) == wanted


def sidecar_path(tar: Path) -> Path:
    """Return the path of a shard's sidecar."""
    return tar.with_suffix(".json")


def records_path(tar: Path) -> Path:
    """Return the path of the Parquet file with the records of one shard."""
    return tar.with_suffix(".parquet")


def remove_half_written(folder: Path, name: str) -> None:
    """Remove the unfinished files of a shard, which its writer left when it was killed."""
    for leftover in folder.glob(f".{name.removesuffix('.tar')}.*.tmp"):
        leftover.unlink(missing_ok=True)


def table_of(records: Sequence[Provenance]) -> pa.Table:
    """Return provenance records as an Arrow table, one row each."""
    import pyarrow as pa

    kind = type(records[0]) if records else KINDS[FORMAT_VERSION]
    rows = [record.to_row() for record in records]
    columns = {name: [row[name] for row in rows] for name in kind.__struct_fields__}
    return pa.table(columns, schema=arrow_schema(kind.FORMAT))


def _parquet(records: Sequence[Provenance]) -> bytes:
    """Return a Parquet file of provenance records."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table_of(records), buffer, compression="zstd")
    return buffer.getvalue()
