"""The table of a release's files: each row has a check, and a new file is refused until it has a row."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthkit.publish import outgoing
from synthkit.release.files import FILES, MANIFEST, ReleaseFile, is_data, is_shard, row_of, shard_path
from synthkit.release.folder import ReleaseFolder
from synthkit.release.manifest import read_manifest
from synthkit.verification import checks, manifest, verify

CHECKED_WHILE_READ = {"manifest", "shard", "record table"}
NOTES = ReleaseFile(name="notes.txt", writer="build", check="notes")  # type: ignore[arg-type]


@pytest.fixture
def copy(small_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_release, tmp_path / "small"))


def faults(release: Path) -> list[str]:
    found = verify.verify_release(release, read_manifest(release), lambda count: None)
    return [f"{fault.path}: {fault.reason}" for fault in found]


def add_notes(release: Path, text: str) -> None:
    """Put notes.txt into a release as `synthkit audit` puts its files."""
    before = read_manifest(release)
    ReleaseFolder(release).amend(before, before, {NOTES.name: text.encode()})


def test_every_row_names_a_check_that_is_there() -> None:
    assert {file.check for file in FILES} == CHECKED_WHILE_READ | checks.CHECKS.keys()


def test_every_file_that_names_the_repository_can_be_written_anew() -> None:
    assert {file.name for file in FILES if file.names_repository} == outgoing._WRITERS.keys()


def test_a_release_holds_the_files_of_the_rows(small_release: Path) -> None:
    there = {path.relative_to(small_release).as_posix() for path in small_release.rglob("*.*")}
    assert there == {path for file in FILES if file.required for path in file.paths(4, 1, 2, "tar")}
    assert {file.path for file in read_manifest(small_release).files} == there - {MANIFEST}


@pytest.mark.parametrize("path", [shard_path(1, "tar"), shard_path(1, "parquet"), "data/train-evil.tar"])
def test_what_readers_load_as_a_shard_is_a_shard(path: str) -> None:
    assert is_shard(path)
    assert is_data(path)


@pytest.mark.parametrize(
    "path", ["data/train-00000.tar.gz", "data/train-00000.json", "data/a/train-0.tar", "x" * 5000, ""]
)
def test_other_names_have_no_row(path: str) -> None:
    assert row_of(path) is None
    assert not is_data(path)


def test_a_new_file_needs_a_row_and_a_check(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_notes(copy, "made by hand")
    assert faults(copy) == ["manifest.json: names notes.txt, which no release has"]
    for module in (manifest, verify):
        monkeypatch.setattr(module, "FILES", (*FILES, NOTES))
    monkeypatch.setitem(
        checks.CHECKS,  # type: ignore[misc]
        "notes",
        lambda path, known: iter([] if known.manifest.name in path.read_text() else ["names another"]),
    )
    assert faults(copy) == ["notes.txt: names another"]
    add_notes(copy, "small, made by hand")
    assert faults(copy) == []


def test_a_new_file_that_is_missing_is_a_fault(small_release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "FILES", (*FILES, NOTES))
    assert faults(small_release) == ["manifest.json: does not name notes.txt"]
