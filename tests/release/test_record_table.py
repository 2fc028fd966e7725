"""provenance/train-00000.parquet of a stranger: reading it takes no more memory than its release can need."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit.release.files import table_path
from synthkit.release.manifest import read_manifest
from synthkit.release.record_table import RecordTable, RecordTables, UnreadableRecords
from tests.conftest import Cli
from tests.helpers.forging import Forgery

Tables = list[pa.Table]


@pytest.fixture
def copy(small_release: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_release, tmp_path / "small")
    return tmp_path / "small"


def tables(release: Path) -> Tables:
    with pq.ParquetFile(release / table_path(0)) as file:
        return [file.read_row_group(number) for number in range(file.num_row_groups)]


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))


def write(release: Path, parts: Tables, **options: Any) -> None:
    """The table, one row group for each part, and a manifest that fits."""
    with pq.ParquetWriter(release / table_path(0), parts[0].schema, compression="zstd", **options) as writer:
        for part in parts:
            writer.write_table(part, row_group_size=10_000_000)
    Forgery.of(release).seal()


def of_first(change: Callable[[pa.Table], pa.Table]) -> Callable[[Tables], Tables]:
    return lambda parts: [change(parts[0]), *parts[1:]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # Some kilobytes, which take gigabytes when they are read.
        (
            of_first(lambda part: part.take(pa.array([0] * 300_000))),
            "it has 300,000 rows for shard 0, which has 24 images",
        ),
        (lambda parts: [pa.concat_tables(parts)], "it has 1 row groups for 4 shards"),
        (lambda parts: [parts[1], parts[0].slice(1), *parts[2:]], "it has 23 rows for shard 1, which has 24"),
        (
            of_first(lambda part: with_column(part, "region", [[0] * 100_000] * 24)),
            "its column region.list.element says it has 2,400,000 values for 24 rows",
        ),
        (
            of_first(lambda part: with_column(part, "rejected", [["x"] * 101] * 24)),
            "its column rejected.list.element says it has 2,424 values for 24 rows",
        ),
        (
            of_first(lambda part: with_column(part, "prompt", [str(n) * 200_000 for n in range(24)])),
            "its rows for shard 0 say they take ",
        ),
        # Stored once, written out 24 times.
        (
            of_first(lambda part: with_column(part, "prompt", ["a" * 1_000_000] * 24)),
            "its strings for 24 rows would take 24,",
        ),
        (
            lambda parts: [part.replace_schema_metadata({"pandas": "{}"}) for part in parts],
            "it holds more than provenance records: metadata of its own",
        ),
        (
            lambda parts: [part.rename_columns([f"{name}_" for name in part.column_names]) for part in parts],
            "its columns are not those of provenance records",
        ),
    ],
)
def test_a_table_that_is_not_that_of_the_shards_is_not_read(
    cli: Cli, copy: Path, change: Callable[[Tables], Tables], reason: str
) -> None:
    write(copy, change(tables(copy)))
    assert (copy / table_path(0)).stat().st_size < 500_000
    result = cli("verify", copy)
    assert result.exit_code == 1
    assert reason in result.output
    refused = cli("diff", copy, copy)
    assert refused.exit_code == 1
    assert f"error: {copy / table_path(0)}: cannot be read: " in refused.output
    with pytest.raises(UnreadableRecords, match=str(copy / table_path(0))):
        list(RecordTables(copy, read_manifest(copy)).parts())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not a Parquet file: it does not end as one"),
        (b"PAR1", "it is not a Parquet file: it does not end as one"),
        (b"PAR1" + b"\xff\xff\xff\x7fPAR1", "its footer has 2,147,483,647 bytes"),
        (b"PAR1" + bytes(100) + b"\x64\0\0\0PAR1", ""),
    ],
)
def test_what_is_no_table(copy: Path, content: bytes, reason: str) -> None:
    (copy / table_path(0)).write_bytes(content)
    with pytest.raises(UnreadableRecords) as caught:
        RecordTables(copy, read_manifest(copy))
    assert reason in caught.value.reason
    assert "\n" not in str(caught.value)


def test_more_rows_than_bytes_can_hold(copy: Path) -> None:
    """It is refused even if the manifest claims as many images."""
    (part, *_) = tables(copy)
    rows = 300_000
    write(copy, [part.take(pa.array([0] * rows))])
    with pytest.raises(UnreadableRecords, match=r"it says it has 300,000 rows, in [\d,]+ bytes"):
        RecordTable(copy / table_path(0), [rows], 2)


def test_the_rows_as_they_were_written(small_release: Path) -> None:
    rows = [shard.images or 0 for shard in read_manifest(small_release).shards]
    table = RecordTable(small_release / table_path(0), rows, 2)
    assert pa.concat_tables(table.parts()).equals(pa.concat_tables(tables(small_release)))
    assert table.read(1, ["key", "sources"]).equals(tables(small_release)[1].select(["key", "sources"]))
