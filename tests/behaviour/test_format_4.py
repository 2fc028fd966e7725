"""Formats 4 and 5: records tell the draws of which their image was preferred (`filters.prefer`).

tests/data/make_release_format_4.sh made the releases that are committed. That of format 4 has two blocks, and
gates rejected some draws; the records of format 5 also have a weight.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthkit.release.candidates import preferred
from synthkit.release.manifest import read_manifest
from synthkit.release.records import Provenance, Provenance4, Provenance5, record_schema
from synthkit.release.shard_reader import read_samples
from tests.conftest import Cli, digests
from tests.helpers.forging import faults_of
from tests.helpers.hub_client import Client
from tests.helpers.hub_server import HubServer
from tests.helpers.paths import DATA, ROOT
from tests.helpers.token_colours import registered, token_model

RELEASES = {form: DATA / f"release-format-{form}" for form in (4, 5)}
KINDS = {4: Provenance4, 5: Provenance5}
IMAGES = {4: 9, 5: 6}


@pytest.fixture(scope="module", autouse=True)
def _family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp("family") / "site"):
        yield


def records_of(form: int) -> list[Provenance]:
    found: list[Provenance] = []
    for path in sorted(RELEASES[form].glob("data/*.tar")):
        found += [record for record, _ in read_samples(path, len(found), "png", form)]
    return found


@pytest.mark.parametrize("form", RELEASES)
def test_its_manifest_and_its_records(form: int) -> None:
    manifest = read_manifest(RELEASES[form])
    assert (manifest.format_version, manifest.images) == (form, IMAGES[form])
    assert manifest.sealed() == manifest
    assert manifest.filters is not None and manifest.filters.prefer is not None
    assert manifest.filters.prefer.each == 3
    records = records_of(form)
    assert len(records) == IMAGES[form]
    for record in records:
        assert isinstance(record, KINDS[form])
        assert isinstance(record, Provenance4 | Provenance5)
        if record.candidates:
            assert record.attempt == preferred(record.candidates).attempt
    assert all(0.1 <= record.scale <= 0.9 for record in records if isinstance(record, Provenance5))


@pytest.mark.parametrize("form", RELEASES)
@pytest.mark.parametrize("deep", [False, True])
def test_verify_finds_no_fault(form: int, deep: bool) -> None:
    assert faults_of(RELEASES[form], deep=deep) == []


@pytest.mark.parametrize("form", RELEASES)
def test_its_schema_is_shipped(cli: Cli, form: int) -> None:
    schema = json.loads((ROOT / "synthkit" / "release" / f"provenance-{form}.schema.json").read_text())
    assert schema == record_schema(form) == json.loads(cli("schema", f"provenance-{form}").output)
    assert schema["title"] == f"synthkit provenance record, format {form}"
    assert sorted(schema["required"]) == sorted(KINDS[form].__struct_fields__)


@pytest.mark.parametrize("form", RELEASES)
def test_show_and_replay(cli: Cli, tmp_path: Path, form: int) -> None:
    key = next(record.key for record in records_of(form) if record.attempt)
    shown = cli("show", RELEASES[form], key).output
    assert "  draw 1   " in shown and "  draw 3   " in shown
    copy = shutil.copytree(RELEASES[form], tmp_path / "copy")
    model = ("--set", f"model.id={token_model(tmp_path / 'token-colours')}") if form == 5 else ()
    replayed = cli("replay", copy, key, *model)
    # Another version of a library may give other bits, and says so; the records must hold all the same.
    assert f"{key}: " in replayed.output
    assert "but its record" not in replayed.output


@pytest.mark.parametrize("form", RELEASES)
def test_load_dataset(tmp_path: Path, form: int) -> None:
    from datasets import load_dataset

    samples: Any = load_dataset(str(RELEASES[form]), split="train", cache_dir=str(tmp_path))
    records = records_of(form)
    assert samples["__key__"] == [record.key for record in records]
    for row, record in zip(samples, records, strict=True):
        assert row["json"]["candidates"] == json.loads(record.to_json())["candidates"]


def test_it_is_published_and_pulled(hub: HubServer, synthkit: Client, tmp_path: Path) -> None:
    release = shutil.copytree(RELEASES[4], tmp_path / "small")
    ran = synthkit("publish", release, "lab/small")
    assert ran.exit_code == 0, ran.output
    ran = synthkit("pull", "lab/small@v2.1.0", "--out", tmp_path / "pulled")
    assert ran.exit_code == 0, ran.output
    copy = tmp_path / "pulled" / "small"
    data = {
        path: digest for path, digest in digests(RELEASES[4]).items() if path.startswith(("data", "prov"))
    }
    assert data.items() <= digests(copy).items()
    assert faults_of(copy) == []
