"""Shards as Parquet files, which `datasets`, pandas and the Hub's viewer read: a row is a sample.

The columns are `image`, as the Image feature of `datasets` stores it (the bytes of the image file, and its
name), `label`, and the other fields of the record. Rows stand in the order of their keys.

What decides the bytes of a shard, beside the samples, are the options in `_OPTIONS`, the size of row groups,
and Arrow's writer: its name and version stand in the footer, and cannot be set. So shards are equal where the
version of pyarrow is, which a release states in its environment. Nothing is compressed, since images are
already, and no value is stored once for several rows: what a reader unpacks is never more than the file, and
images can be read at their places.

Source: the Apache Parquet format; `datasets.Image`, and how `datasets` names features in a file's metadata.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec

from synthkit.release.bounded_parquet import check_tail, check_values, parquet_errors
from synthkit.release.containers.base import Found, Place, Shard
from synthkit.release.parquet_pages import Page, pages, strings
from synthkit.release.records import KINDS, MAX_RECORD, Provenance, arrow_schema, key_of, table_of
from synthkit.release.tar_members import opened
from synthkit.system.environment import library_versions
from synthkit.version import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    import pyarrow.parquet as pq

# A row group ends after so many images, or as soon as its image files have so many bytes: a reader holds one.
_ROWS = 100
_BYTES = 1 << 26
# The most bytes of a row group that is read: one more image of the largest size, and the records.
_MOST_PER_GROUP = _BYTES + (1 << 28) + _ROWS * (1 << 16)
# Room for 1,000 row groups, those of the largest shard, with 16 kB each.
_LONGEST_FOOTER = 1 << 24
_OPTIONS: dict[str, Any] = {
    "version": "2.6",
    "data_page_version": "1.0",
    "data_page_size": 1 << 20,
    "write_batch_size": 1024,
    "compression": "none",
    "use_dictionary": False,
    "column_encoding": "PLAIN",
    "write_statistics": False,
    "write_page_index": False,
    "write_page_checksum": False,
    "use_content_defined_chunking": False,
    "store_schema": True,
}
# By this `datasets` knows that `image` holds images, also in a single file. The names of classes stand in the
# card alone: they can become more as a release grows, and its shards stay as they are.
_METADATA = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}
_OF_ARROW = b"ARROW:schema"
# What a Parquet file begins with, and the length of the footer and of the mark that it ends with.
_BEGIN, _END = 4, 8


class Parquet:
    """Parquet files of samples; a Container."""

    media_type = "application/x-parquet"
    # The numbers and hashes of a record, which no dictionary shortens.
    least_per_sample = 256

    def writer(self, stream: IO[bytes], extension: str) -> ParquetWriter:
        """Return what writes a Parquet file into a stream."""
        return ParquetWriter(stream, extension)

    def read_some(self, shard: Shard, indices: Sequence[int]) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the records and the image files with some indices; only their row groups are read."""
        with _Rows(shard) as rows:
            read: tuple[int, list[dict[str, Any]]] = (-1, [])
            for index in indices:
                group = bisect_right(rows.starts, index - shard.first) - 1
                row = index - shard.first - rows.starts[group] if group >= 0 else -1
                if not 0 <= row < rows.counts[group]:
                    raise ValueError("it is not there")
                if read[0] != group:
                    read = group, rows.read(group)
                yield _sample(read[1][row], index, shard.form)

    def read_all(self, shard: Shard) -> Iterator[tuple[Provenance, bytes]]:
        """Yield the record and the image file of every sample."""
        with _Rows(shard) as rows:
            for index, row in enumerate(rows.every(), shard.first):
                yield _sample(row, index, shard.form)

    def places(self, shard: Shard) -> Iterator[Place]:
        """Yield where each image lies in the file; images are skipped, not read."""
        with _Rows(shard) as rows:
            index = shard.first
            for group, count in enumerate(rows.counts):
                images = list(rows.images(group))
                if len(images) != count:
                    raise ValueError(f"row group {group} has {len(images):,} images in {count:,} rows")
                for row, (offset, size) in zip(rows.read(group, ["key", "label"]), images, strict=True):
                    _check_key(row, index)
                    yield Place(offset, size, row["label"])
                    index += 1

    def inspect(self, shard: Shard, environment: Mapping[str, str]) -> Iterator[Found]:
        """Yield every sample; then write the shard again, if this pyarrow wrote it, and compare all bytes."""
        with _Rows(shard) as rows, shard.path.open("rb") as stream:
            comparable = environment.get("pyarrow") == library_versions()["pyarrow"]
            there = _Comparison(stream)
            again = ParquetWriter(there, shard.extension)
            try:
                for index, row in enumerate(rows.every(), shard.first):
                    found = _found(row, index, shard)
                    yield found
                    # A record that cannot be read cannot be written again.
                    comparable = comparable and found.record is not None
                    if comparable and found.record is not None:
                        again.write(found.record, found.image)
                if comparable:
                    again.close()
                    if not there.is_same():
                        raise ValueError("it has other bytes than a build writes for its rows")
            finally:
                again.abandon()


class ParquetWriter:
    """Writes rows into a stream, one row group at a time; a SampleWriter."""

    def __init__(self, stream: IO[bytes] | io.RawIOBase, extension: str) -> None:
        self._stream, self._extension = stream, extension
        self._file: pq.ParquetWriter | None = None
        self._rows: list[tuple[Provenance, bytes]] = []
        self._bytes = 0

    def write(self, record: Provenance, image: bytes) -> None:
        """Add a row; rows are written once they fill a row group."""
        self._rows.append((record, image))
        self._bytes += len(image)
        if len(self._rows) == _ROWS or self._bytes >= _BYTES:
            self._write_group(record.FORMAT)

    def close(self) -> None:
        """Write the last row group and the footer."""
        if self._rows:
            self._write_group(self._rows[0][0].FORMAT)
        self._opened(FORMAT_VERSION).close()

    def abandon(self) -> None:
        """Write no more; Arrow would write a footer when its writer is forgotten."""
        if self._file is not None:
            self._file.is_open = False

    def _write_group(self, form: int) -> None:
        table = _table(self._rows, self._extension, form)
        self._opened(form).write_table(table, row_group_size=len(self._rows))
        self._rows, self._bytes = [], 0

    def _opened(self, form: int) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        if self._file is None:
            self._file = pq.ParquetWriter(self._stream, _schema(form), **_OPTIONS)
        return self._file


class _Rows:
    """The rows of a shard that may be a stranger's, read one row group at a time.

    `counts` are the numbers of rows of the row groups, `starts` how many rows stand before each. Raises
    ValueError if the file is not laid out as a build does.
    """

    def __init__(self, shard: Shard) -> None:
        import pyarrow.parquet as pq

        with opened(shard.path) as (stream, size):
            check_tail(stream, _LONGEST_FOOTER)
        with parquet_errors():
            self._file = pq.ParquetFile(shard.path)
            _check_columns(self._file, shard.form)
            metadata = self._file.metadata
            groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
            _check_layout(groups, size - _END - metadata.serialized_size)
        self.counts = [group.num_rows for group in groups]
        self.starts = [0, *accumulate(self.counts)][:-1]
        self._groups = groups
        self._stream = shard.path.open("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._file.close()

    def every(self) -> Iterator[dict[str, Any]]:
        """Yield every row as plain Python types."""
        for group in range(len(self.counts)):
            yield from self.read(group)

    def read(self, group: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Read the rows of a row group, all columns or some."""
        with parquet_errors():
            for column in _columns(self._groups[group]):
                found = sum(page.values for page in self._pages(column))
                if found != column.num_values:
                    raise ValueError(
                        f"column {column.path_in_schema} of row group {group} has {found:,} values"
                    )
            rows: list[dict[str, Any]] = self._file.read_row_group(group, columns=columns).to_pylist()
            return rows

    def images(self, group: int) -> Iterator[tuple[int, int]]:
        """Yield the offset and the size of each image file of a row group."""
        for page in self._pages(self._groups[group].column(0)):
            yield from strings(self._stream, page)

    def _pages(self, column: pq.ColumnChunkMetaData) -> Iterator[Page]:
        start = column.data_page_offset
        return pages(self._stream, start, start + column.total_compressed_size)


class _Comparison(io.RawIOBase):
    """A stream to write to, which compares what is written with what a file holds at the same place."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file, self._written, self._same = file, 0, True

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._same = self._same and self._file.read(len(content)) == content
        self._written += len(content)
        return len(content)

    def is_same(self) -> bool:
        """Return whether all that the file holds was written, and nothing else."""
        return self._same and not self._file.read(1)


def _schema(form: int) -> pa.Schema:
    """Return the columns of a shard; `image` may be null by its type alone, as `datasets` has it."""
    import pyarrow as pa

    image = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    record = arrow_schema(form)
    others = [field for field in record if field.name != "label"]
    return pa.schema([image, record.field("label"), *others], metadata=_METADATA)


def _table(rows: Sequence[tuple[Provenance, bytes]], extension: str, form: int) -> pa.Table:
    import pyarrow as pa

    records = [record for record, _ in rows]
    files = pa.array([image for _, image in rows], pa.binary())
    paths = pa.array([f"{record.key}.{extension}" for record in records], pa.string())
    columns = table_of(records)
    images = pa.StructArray.from_arrays([files, paths], ["bytes", "path"])
    schema = _schema(form)
    return pa.table([images, *(columns[name] for name in schema.names[1:])], schema=schema)


def _check_columns(file: pq.ParquetFile, form: int) -> None:
    """Raise ValueError unless a file has the columns and the metadata of a shard, and no more."""
    metadata = {key: value for key, value in (file.metadata.metadata or {}).items() if key != _OF_ARROW}
    if not file.schema_arrow.equals(_schema(form)):
        raise ValueError("its columns are not those of a shard")
    if metadata != _METADATA or file.schema_arrow.metadata != _METADATA:
        raise ValueError("it has metadata that no build writes")


def _check_layout(groups: Sequence[pq.RowGroupMetaData], footer: int) -> None:
    """Raise ValueError unless columns stand one after the other up to the footer, and nothing is packed."""
    at = _BEGIN
    for number, group in enumerate(groups):
        rows, stored = group.num_rows, _stored(group)
        if not 0 < rows <= _ROWS or stored > _MOST_PER_GROUP:
            raise ValueError(f"row group {number} says it has {rows:,} rows, in {stored:,} bytes")
        for column in _columns(group):
            check_values(column, rows)
            packed = column.compression != "UNCOMPRESSED" or column.has_dictionary_page
            if packed or column.total_compressed_size != column.total_uncompressed_size:
                raise ValueError(f"column {column.path_in_schema} of row group {number} is packed")
            if column.data_page_offset != at:
                raise ValueError(f"column {column.path_in_schema} of row group {number} is not in its place")
            at += column.total_compressed_size
    if at != footer:
        raise ValueError(f"its rows end at byte {at:,}, its footer begins at {footer:,}")


def _stored(group: pq.RowGroupMetaData) -> int:
    """Return the bytes that a row group takes in the file."""
    return sum(column.total_compressed_size for column in _columns(group))


def _columns(group: pq.RowGroupMetaData) -> list[pq.ColumnChunkMetaData]:
    return [group.column(place) for place in range(group.num_columns)]


def _sample(row: dict[str, Any], index: int, form: int) -> tuple[Provenance, bytes]:
    """Return the record and the image file in a row. Raises ValueError if it is not a sample's."""
    return _record(row, form), _image(row, index)


def _check_key(row: dict[str, Any], index: int) -> None:
    if row["key"] != key_of(index):
        raise ValueError(f"{row['key']!r:.80} stands where {key_of(index)} must")


def _image(row: dict[str, Any], index: int) -> bytes:
    _check_key(row, index)
    image = (row["image"] or {}).get("bytes")
    if image is None:
        raise ValueError(f"{key_of(index)} has no image")
    return bytes(image)


def _record(row: dict[str, Any], form: int) -> Provenance:
    fields = {name: value for name, value in row.items() if name != "image"}
    record = msgspec.convert(fields, KINDS[form])
    if len(record.to_json()) > MAX_RECORD:
        raise ValueError("its record is too large")
    return record


def _found(row: dict[str, Any], index: int, shard: Shard) -> Found:
    """Return a row with all that is wrong with its image's name or its record."""
    key, stored = key_of(index), row["image"] or {"bytes": None, "path": None}
    image, name = stored["bytes"] or b"", stored["path"]
    faults = [] if name == f"{key}.{shard.extension}" else [f"{key}: its image is called {name!r:.80}"]
    try:
        record = _record(row, shard.form)
    except ValueError as error:
        return Found(None, image, [*faults, f"{key}: its row is not a provenance record: {error}"])
    return Found(record, image, faults)
