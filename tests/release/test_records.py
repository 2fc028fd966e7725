"""The record of an image: its published schema, and what is refused as a record."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from synthkit.release.records import Provenance2, read_record, record_schema
from tests.conftest import Cli
from tests.helpers.paths import ROOT

SCHEMA = ROOT / "synthkit" / "release" / "provenance.schema.json"


@pytest.fixture(scope="module")
def records(small_release: Path) -> list[bytes]:
    found = []
    for path in sorted((small_release / "data").iterdir()):
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.name.endswith(".json")]
            found += [archive.extractfile(member).read() for member in members]  # type: ignore[union-attr]
    return found


def test_the_shipped_schema_is_the_schema_and_says_its_format(cli: Cli) -> None:
    stored = json.loads(SCHEMA.read_text())
    assert stored == record_schema() == json.loads(cli("schema", "provenance").output)
    assert stored["title"] == "synthkit provenance record, format 2"
    assert sorted(stored["required"]) == sorted(Provenance2.__struct_fields__)
    told = cli("schema", "manifesto")
    assert (told.exit_code, told.output.count("\n")) == (1, 1)


def test_every_record_is_valid_by_the_schema_and_is_read(records: list[bytes]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert len(records) == 76
    for raw in records:
        validator.validate(json.loads(raw))
        assert read_record(raw).to_json() == raw


@pytest.mark.parametrize(
    "change",
    [
        {"key": "x"},
        {"label": -1},
        {"label": "5"},
        {"label": 5.5},
        {"seed": 2**63},
        {"lam": 1.5},
        {"lam": None},
        {"sources": [{"id": "/etc/passwd", "sha256": "0" * 64}]},
        {"sources": [{"id": "a/../../b", "sha256": "0" * 64}]},
        {"sources": [{"id": "a", "sha256": "short"}]},
        {"sources": [{"id": "a"}]},
        {"sources": [{"id": "a", "sha256": "0" * 64}] * 3},
        {"sources": [{"id": "a.png\n", "sha256": "0" * 64}]},
        {"sources": [{"id": "a\n.png", "sha256": "0" * 64}]},
        {"sources": [{"id": "a\x1b[2J.png", "sha256": "0" * 64}]},
        {"sources": [{"id": "a\x85.png", "sha256": "0" * 64}]},
        {"sources": [{"id": "a\x00", "sha256": "0" * 64}]},
        {"sources": [{"id": "a\u2028", "sha256": "0" * 64}]},
        {"sources": [{"id": "a", "sha256": "0" * 64 + "\n"}]},
        {"image_sha256": "0" * 64 + "\n"},
        {"generation_digest": "0" * 64 + "\n"},
        {"key": "000000000\n"},
        {"region": [-1]},
        {"image_sha256": "ABC"},
        {"extra": 1},
    ],
)
def test_what_the_schema_refuses_is_no_record(records: list[bytes], change: dict[str, Any]) -> None:
    record = json.loads(records[0]) | change
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert not validator.is_valid(record)
    with pytest.raises(ValueError, match=r"Expected|unknown field|missing required field"):
        read_record(json.dumps(record, separators=(",", ":")).encode())


def test_an_id_is_any_name_that_a_file_may_have(records: list[bytes]) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for name in ("क्\u200dष/Screenshot 9.41\u202fPM.png", "a..b/...", "a b/ü", ".hidden"):
        record = json.loads(records[0]) | {"sources": [{"id": name, "sha256": "0" * 64}]}
        validator.validate(record)
        raw = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        assert read_record(raw).sources[0].id == name


def test_a_record_without_a_field_or_written_otherwise_is_none(records: list[bytes]) -> None:
    for name in Provenance2.__struct_fields__:
        record = json.loads(records[0])
        del record[name]
        with pytest.raises(ValueError, match=f"missing required field `{name}`"):
            read_record(json.dumps(record).encode())
    for raw in (
        records[0] + b" ",
        records[0].replace(b'{"key"', b'{"key":"000000001","key"'),
        records[0].replace(b":", b": ", 1),
    ):
        with pytest.raises(ValueError, match="is not written as records are"):
            read_record(raw)
