"""`synthkit croissant`: a release's metadata printed, and written into the file that the Hub generates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FLAT, Cli
from tests.helpers.commands import run_build
from tests.helpers.paths import DATA

# As the Hub makes it: services/worker/…/croissant_crumbs.py of github.com/huggingface/dataset-viewer.
HUB = json.loads((DATA / "hub_croissant.json").read_text())
FORMAT_1 = DATA / "release-format-1"


def issues_of(document: dict[str, Any]) -> tuple[set[str], set[str]]:
    import mlcroissant

    issues = mlcroissant.Dataset(document).metadata.ctx.issues
    return issues.errors, issues.warnings


def merge(cli: Cli, release: Path, document: object = HUB) -> Path:
    file = cli.folder / "hub.json"
    file.write_text(json.dumps(document))
    result = cli("croissant", release, "--into", file)
    assert result.exit_code == 0, result.output
    assert "now states what" in result.output
    return file


def test_it_prints_the_metadata_of_the_release(cli: Cli, flat_release: Path) -> None:
    result = cli("croissant", flat_release)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((flat_release / "croissant.json").read_text())


def test_what_the_release_states_wins_and_what_the_hub_describes_stays(cli: Cli, flat_release: Path) -> None:
    merged = json.loads(merge(cli, flat_release).read_text())
    own = json.loads((flat_release / "croissant.json").read_text())
    for name in (
        "description",
        "license",
        "version",
        "datePublished",
        "prov:wasDerivedFrom",
        "rai:dataBiases",
    ):
        assert merged[name] == own[name]
    assert "url       = {https://huggingface.co/datasets/lab/digits}" in merged["citeAs"]
    assert merged["creator"]["name"] == "lab"
    for name in ("name", "alternateName", "keywords", "url"):
        assert merged[name] == HUB[name]
    for name in ("distribution", "recordSet"):
        assert merged[name][:2] == HUB[name]
        assert len(merged[name]) == 2 + len(own[name])
    assert issues_of(merged) == (set(), set())


def test_the_added_files_are_those_of_the_tag(cli: Cli, flat_release: Path) -> None:
    merged = json.loads(merge(cli, flat_release).read_text())
    added = {node["@id"]: node for node in merged["distribution"][2:]}
    shard = added["synthkit/data/train-00000.tar"]
    address = "https://huggingface.co/datasets/lab/digits/resolve/v1.2.3/data/train-00000.tar"
    assert shard["contentUrl"] == address
    ids = [node["@id"] for name in ("distribution", "recordSet") for node in merged[name]]
    assert len(ids) == len(set(ids))


def test_the_tables_of_a_release_that_grew_are_found_at_their_addresses(cli: Cli) -> None:
    run_build(cli, cli.recipe("grown: [9]"), *FLAT)
    merged = json.loads(merge(cli, cli.folder / "releases" / "small").read_text())
    (tables,) = (node for node in merged["distribution"] if node["@id"] == "synthkit/record-files")
    assert tables["containedIn"] == [
        {"@id": f"synthkit/provenance/train-{block:05d}.parquet"} for block in range(2)
    ]
    assert issues_of(merged) == (set(), set())


def test_once_more_changes_nothing(cli: Cli, flat_release: Path) -> None:
    file = merge(cli, flat_release)
    once = file.read_bytes()
    assert cli("croissant", flat_release, "--into", file).exit_code == 0
    assert file.read_bytes() == once


def test_a_release_of_format_1(cli: Cli) -> None:
    result = cli("croissant", FORMAT_1)
    assert json.loads(result.stdout) == json.loads((FORMAT_1 / "croissant.json").read_text())
    (cli.folder / "hub.json").write_text(json.dumps(HUB))
    result = cli("croissant", FORMAT_1, "--into", "hub.json")
    assert result.exit_code == 1
    assert "is a preview, which is not published" in result.output


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in HUB.items() if key != name}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not JSON"),
        ("no JSON", "it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": NaN}', "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ("{}", "its @context is not an object"),
        (json.dumps(HUB | {"@type": "sc:Person"}), "its @type is not sc:Dataset"),
        (json.dumps(HUB | {"@type": ["sc:Dataset"]}), "its @type is not sc:Dataset"),
        (json.dumps(without("conformsTo")), "its conformsTo names no version of Croissant"),
        (json.dumps(HUB | {"distribution": ["x"]}), "its distribution is not a list of objects"),
        (json.dumps(HUB | {"recordSet": 3}), "its recordSet is not a list of objects"),
        (json.dumps(without("url")), "its url names no data set on the Hub"),
        (json.dumps(HUB | {"url": "https://evil.example/datasets/lab/digits"}), "its url names no data set"),
        (json.dumps(HUB | {"@context": {"sc": "https://evil.example/"}}), "gives sc another meaning"),
    ],
)
def test_a_file_that_the_hub_did_not_make_stays_as_it_is(
    cli: Cli, flat_release: Path, content: str, reason: str
) -> None:
    file = cli.folder / "odd.json"
    file.write_text(content)
    result = cli("croissant", flat_release, "--into", file)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(f"error: {file}: ")
    assert reason in line
    assert file.read_text() == content


def change(release: Path, alter: Callable[[bytes], bytes], name: str) -> None:
    (release / name).write_bytes(alter((release / name).read_bytes()))


def test_other_mistakes_are_named(cli: Cli, flat_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, reason in (
        ((flat_release, "--into", "missing.json"), "missing.json: No such file or directory"),
        ((flat_release, "--into", "."), "Is a directory"),
        (("missing",), "missing: there is no such folder"),
    ):
        result = cli("croissant", *arguments)
        assert result.exit_code == 1
        assert reason in result.output
    monkeypatch.setattr("synthkit.release.hub_croissant.MAX_BYTES", 1000)
    (cli.folder / "hub.json").write_text(json.dumps(HUB))
    result = cli("croissant", flat_release, "--into", "hub.json")
    assert "hub.json: is too large to be a Croissant file" in result.output


def test_the_file_of_another_data_set_is_refused(cli: Cli, published_flat: Path) -> None:
    (cli.folder / "hub.json").write_text(
        json.dumps(HUB | {"url": "https://huggingface.co/datasets/lab/other"})
    )
    result = cli("croissant", published_flat, "--into", "hub.json")
    assert result.exit_code == 1
    assert "hub.json: describes lab/other; the release is published in lab/digits" in result.output


def test_a_manifest_with_a_fault_is_not_quoted(cli: Cli, flat_release: Path, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(flat_release, tmp_path / "copy")
    change(copy, lambda raw: raw.replace(b'"name": "nine"', b'"name": " "'), "manifest.json")
    result = cli("croissant", copy)
    assert result.exit_code == 1
    assert "its manifest" in result.output
    assert "run synthkit verify" in result.output


@pytest.fixture
def published_flat(flat_release: Path, tmp_path: Path) -> Path:
    """The release as it lies in the repository lab/digits."""
    from synthkit.publish.outgoing import address_to
    from synthkit.release.manifest import read_manifest

    folder = tmp_path / "published"
    for path, content in address_to(flat_release, read_manifest(flat_release), "lab/digits").contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder
