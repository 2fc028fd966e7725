"""Parquet shards of strangers: every byte and value is checked, and none takes more memory than its file."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit.errors import ReleaseError
from synthkit.release.containers.parquet import _OPTIONS, _schema
from synthkit.release.image import read_image, read_images
from synthkit.release.manifest import Manifest, read_manifest
from synthkit.verification.shard import check_shard
from tests.conftest import Cli
from tests.helpers.forging import Forgery, faults_of, reseal
from tests.helpers.scoring import synthetic_of

SHARD = "data/train-00001.parquet"
FIRST = 24

Change = Callable[[pa.Table], pa.Table]


@pytest.fixture
def copy(parquet_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(parquet_release, tmp_path / "small"))


def rewrite(release: Path, change: Change = lambda table: table, rows: int = 100, **options: Any) -> None:
    """Write a shard again, and make the manifest fit."""
    path = release / SHARD
    with pq.ParquetFile(path) as file:
        table = change(_as_written(file.read()))
    pq.write_table(table, path, row_group_size=rows, **{**_OPTIONS, **options})
    reseal(release, SHARD)


def _as_written(table: pa.Table) -> pa.Table:
    """The table without what Arrow notes on fields that it reads."""
    return pa.table(table.columns, schema=_schema(2))


def with_column(name: str, values: Callable[[list[Any]], list[Any]]) -> Change:
    def change(table: pa.Table) -> pa.Table:
        field, place = table.schema.field(name), table.schema.get_field_index(name)
        column = pa.array(values(table[name].to_pylist()), field.type)
        return table.set_column(place, field, column)

    return change


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def test_written_again_it_is_the_same(copy: Path, parquet_release: Path) -> None:
    rewrite(copy)
    assert (copy / SHARD).read_bytes() == (parquet_release / SHARD).read_bytes()
    assert faults_of(copy, deep=True) == []


def test_no_byte_can_be_another(copy: Path) -> None:
    """Whatever the manifest says: each byte of a shard follows from its rows, or is refused."""
    shard, manifest, rng = copy / SHARD, read_manifest(copy), random.Random(0)
    content, records = shard.read_bytes(), check_shard(shard, FIRST, manifest, deep=False).records
    for place in [0, 3, len(content) - 1, len(content) - 5, *rng.sample(range(len(content)), 100)]:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.randrange(8)
        shard.write_bytes(changed)
        found = check_shard(shard, FIRST, manifest, deep=False)
        # Another record is compared with the plan, and with its row in the table of records.
        assert found.faults or found.records != records, place
        assert all("\n" not in fault for fault in found.faults)


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        # Some kilobytes, which take gigabytes when they are read.
        (lambda t: t, {"compression": "zstd"}, "column image.bytes of row group 0 is packed"),
        (
            lambda t: t,
            {"use_dictionary": True, "column_encoding": None},
            "image.bytes of row group 0 is packed",
        ),
        (lambda t: t, {"rows": 5}, "it has other bytes than a build writes for its rows"),
        (lambda t: t, {"write_page_index": True}, "its rows end at byte "),
        (lambda t: t, {"write_statistics": True}, "at byte 4 is a page that no build writes"),
        (lambda t: pa.concat_tables([t] * 6).combine_chunks(), {"rows": 1000}, "says it has 144 rows"),
        (
            lambda t: t.replace_schema_metadata({**t.schema.metadata, "pandas": "{}"}),
            {},
            "it has metadata that no build writes",
        ),
        (
            lambda t: t.replace_schema_metadata({"huggingface": '{"info": {"features": {}}}'}),
            {},
            "it has metadata that no build writes",
        ),
        (
            lambda t: t.append_column("more", pa.array(range(len(t)))),
            {},
            "its columns are not those of a shard",
        ),
        (lambda t: t.drop_columns(["lam"]), {}, "its columns are not those of a shard"),
        (
            with_column("region", first([0] * 1000)),
            {},
            "its column region.list.element says it has ",
        ),
    ],
)
def test_a_file_that_no_build_writes_is_not_read(
    cli: Cli, copy: Path, change: Change, options: dict[str, Any], reason: str
) -> None:
    rewrite(copy, change, **options)
    assert any(fault.startswith(f"{SHARD}: is not whole: ") and reason in fault for fault in faults_of(copy))
    result = cli("verify", copy)
    assert result.exit_code == 1 and reason in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_column("label", first(9)), "000000024: its record's class_name is "),
        (with_column("seed", first(1)), "000000024"),
        (with_column("lam", first(float("nan"))), "000000024: its row is not a provenance record"),
        (with_column("image_sha256", first("0" * 64)), "its image is not the one in its record (sha256)"),
        (with_column("image_sha256", first("no")), "000000024: its row is not a provenance record"),
        (with_column("key", first("000000025")), "000000024: its record's key is 000000025"),
        (with_column("image", first(None)), "000000024: its image is called None"),
        (
            with_column("image", lambda v: [{**v[0], "path": "../x.png"}, *v[1:]]),
            "000000024: its image is called '../x.png'",
        ),
        (
            with_column("image", lambda v: [{**v[0], "bytes": b"GIF89a"}, *v[1:]]),
            "its image is not as a build writes it",
        ),
        (lambda t: t.slice(1), "holds 23 images, the manifest says 24"),
        (lambda t: t.take([1, 0, *range(2, 24)]), "000000024: its record's key is 000000025"),
    ],
)
def test_a_value_that_is_not_the_plans_is_found(copy: Path, change: Change, reason: str) -> None:
    rewrite(copy, change)
    assert any(reason in fault for fault in faults_of(copy, deep=True)), faults_of(copy, deep=True)


def test_a_forgery_that_fits_itself_does_not_fit_the_plan(copy: Path) -> None:
    forgery = Forgery.of(copy)
    forgery.change("000000030", seed=7, lam=0.25)
    forgery.write()
    found = [fault for fault in faults_of(copy) if fault.startswith(f"{SHARD}: 000000030: ")]
    assert any("its record's seed is 7, by the plan it is" in fault for fault in found), found
    assert any("its record's lam is 0.25, by its seed it is" in fault for fault in found), found


def test_strings_that_are_stored_once_are_not_unpacked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A footer that denies its dictionaries: each string is in the file once, and in memory often."""
    column = "synthkit.release.containers.parquet._check_layout"
    monkeypatch.setattr(column, lambda groups, footer: None)
    rewrite(
        copy,
        with_column("prompt", lambda values: ["x" * 500_000] * len(values)),
        use_dictionary=["prompt"],
        column_encoding=None,
        dictionary_pagesize_limit=1 << 24,
    )
    assert (copy / SHARD).stat().st_size < 700_000
    found = faults_of(copy)
    assert any(fault.startswith(f"{SHARD}: is not whole: at byte ") for fault in found), found
    assert any("is a page whose values are packed" in fault for fault in found)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff\xff\xff\x7fPAR1", b"PAR1" + bytes(100)])
def test_what_is_no_parquet_file_is_refused_in_one_line(copy: Path, content: bytes) -> None:
    (copy / SHARD).write_bytes(content)
    manifest = read_manifest(copy)
    for read in (
        lambda: read_image(copy, manifest, str(FIRST)),
        lambda: list(read_images(copy, manifest)),
        lambda: synthetic_of(copy),
    ):
        with pytest.raises(ReleaseError, match=SHARD) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_readers_refuse_rows_that_stand_elsewhere(copy: Path) -> None:
    rewrite(copy, lambda table: table.take([1, 0, *range(2, 24)]))
    manifest = read_manifest(copy)
    with pytest.raises(ReleaseError, match="'000000025' stands where 000000024 must"):
        read_image(copy, manifest, "24")
    with pytest.raises(ReleaseError, match="'000000025' stands where 000000024 must"):
        synthetic_of(copy)


def test_bytes_are_compared_only_where_the_same_library_wrote_them(copy: Path) -> None:
    """Another version of pyarrow may lay out the same rows in another way, which is no forgery."""
    rewrite(copy, rows=5)
    forgery = Forgery.of(copy)
    forgery.manifest["environment"]["pyarrow"] = "25.0.0"
    forgery.seal()
    assert [fault for fault in faults_of(copy) if fault.startswith("data/")] == []


def test_a_manifest_with_both_containers_is_refused_in_one_line(
    cli: Cli, copy: Path, flat_release: Path
) -> None:
    shutil.copy(flat_release / "data" / "train-00003.tar", copy / "data")
    said = json.loads((copy / "manifest.json").read_text())
    for file in said["files"]:
        if file["path"] == "data/train-00003.parquet":
            file["path"] = "data/train-00003.tar"
    (copy / "manifest.json").write_text(json.dumps(said))
    for command in (("verify",), ("show",), ("replay", "1"), ("publish", "lab/digits")):
        result = cli(command[0], copy, *command[1:])
        assert result.exit_code == 1
        assert result.output.splitlines()[-1] == (
            f"error: {copy}/manifest.json: is not a manifest: files: 'data/train-00003.tar' is no shard of "
            "this release, whose container is parquet"
        )


def test_format_1_has_tars_alone(parquet_release: Path) -> None:
    said = {**json.loads((parquet_release / "manifest.json").read_text()), "format_version": 1}
    with pytest.raises(ValueError, match="container is parquet, which format 1 does not have"):
        Manifest.model_validate(said)
