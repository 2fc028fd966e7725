"""Several commands on one release at once: each waits or says why not, and no file is lost or mixed up."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

import synthkit
from synthkit.errors import ReleaseError
from synthkit.release.folder import ReleaseFolder
from tests.conftest import Cli, digests
from tests.helpers.paths import ROOT
from tests.helpers.stage import AUDIT, BUILD, RELEASE
from tests.helpers.warm import Warm, WarmProcess
from tests.helpers.workers import flat_recipe

SUMMARY = (*BUILD, "--set", "summary=Better words.")
REPLACED = "was replaced while it was read"
SHARD, NO_SHARD = "data/train-00000.tar", "data/train-00002.tar"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release of twelve images and its work folder. Copy it."""
    folder = tmp_path_factory.mktemp("built")
    recipe = flat_recipe(folder, size=16, shards=2)
    recipe.write_text(recipe.read_text().replace("80", "4").replace("shard_size: 120", "shard_size: 6"))
    result = Cli(folder)(*BUILD)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def cli(built: Path, tmp_path: Path) -> Cli:
    return Cli(Path(shutil.copytree(built, tmp_path / "copy")))


def last_line(cli: Cli, *command: str | Path) -> str:
    """The last line that a failing command prints."""
    result = cli(*command)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.output
    line: str = result.output.splitlines()[-1]
    assert line.startswith("error: ")
    return line


# --- one at a time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [AUDIT, SUMMARY, (*BUILD, "--fresh"), ("merge", *SUMMARY[1:])])
def test_a_release_that_another_process_changes_is_left_to_it(cli: Cli, command: tuple[str, ...]) -> None:
    before = digests(cli.folder / "releases")
    with ReleaseFolder(cli.folder / RELEASE).locked():
        told = last_line(cli, *command)
    assert told.endswith(
        f"{RELEASE}: process {os.getpid()} is at work on it; wait for it to end, then run this again"
    )
    assert digests(cli.folder / "releases") == before
    assert cli(*command).exit_code == 0


def test_a_part_of_a_build_keeps_an_audit_out(cli: Cli) -> None:
    with ReleaseFolder(cli.folder / RELEASE).locked(shared=True):
        assert " is at work on it" in last_line(cli, "audit", RELEASE)


def test_audits_and_builds_at_once_leave_one_whole_release(cli: Cli, quick: Warm) -> None:
    commands = [AUDIT, SUMMARY, AUDIT, BUILD]
    started = [quick.start(*command, cwd=cli.folder) for command in commands]
    ends = [ended(process) for process in started]
    assert any(code == 0 for code, _ in ends)
    for code, told in ends:
        assert code == 0 or told.endswith(" is at work on it; wait for it to end, then run this again"), told
    result = cli("verify", RELEASE)
    assert result.exit_code == 0, result.output
    assert not list((cli.folder / "releases").glob(".*"))


def ended(process: WarmProcess) -> tuple[int | None, str]:
    said, told = process.communicate()
    assert "Traceback" not in told
    return process.returncode, (said + told).strip()


def test_readers_find_the_old_release_or_the_new(cli: Cli, quick: Warm) -> None:
    """Readers see one release or the other, however often it is replaced while they read."""
    readers = [("verify", RELEASE), ("show", RELEASE, "3"), ("diff", RELEASE, RELEASE)]
    writers = [(*BUILD, "--set", f"summary={number}") for number in range(2)]
    for writer in writers:
        writing = quick.start(*writer, cwd=cli.folder)
        reading = [quick.start(*reader, cwd=cli.folder) for reader in readers]
        for code, told in map(ended, reading):
            assert code == 0 or told.endswith(
                f"{RELEASE}: was replaced while it was read; run the same command again"
            ), told
        assert ended(writing)[0] == 0


def test_a_reader_is_told_of_a_replacement(cli: Cli) -> None:
    release = ReleaseFolder(cli.folder / RELEASE)
    with pytest.raises(ReleaseError, match=REPLACED), release.opened():
        assert cli(*SUMMARY).exit_code == 0
    # What readers do not find says less than why they do not find it.
    with pytest.raises(ReleaseError, match=REPLACED), release.opened():
        assert cli(*BUILD).exit_code == 0
        raise FileNotFoundError("data/train-00000.tar")


def test_an_audit_is_not_written_into_another_release_than_it_read(cli: Cli) -> None:
    """On a file system without locks, another process may have changed the release meanwhile."""
    release = ReleaseFolder(cli.folder / RELEASE)
    before = release.manifest()
    assert cli(*SUMMARY).exit_code == 0
    now = digests(release.path)
    with pytest.raises(ReleaseError, match="was replaced meanwhile"):
        release.amend(before, before, {"audit.json": b"{}"})
    assert digests(release.path) == now


# --- what a kill left -------------------------------------------------------------------------------


def cut_off(folder: Path) -> None:
    """The folders as a kill between the two renames leaves them."""
    (folder / RELEASE).rename(folder / "releases/.flat.old")
    shutil.copytree(folder / "releases/.flat.old", folder / "releases/.flat.new")
    (folder / "releases/.flat.lock").write_text("1")


@pytest.mark.parametrize(
    "command",
    [
        ("verify", RELEASE),
        ("show", RELEASE),
        ("show", RELEASE, "3"),
        ("diff", RELEASE, RELEASE),
        ("replay", RELEASE, "3"),
        AUDIT,
        BUILD,
    ],
)
def test_any_command_brings_back_a_release_that_lost_its_name(cli: Cli, command: tuple[str, ...]) -> None:
    cut_off(cli.folder)
    result = cli(*command)
    assert result.exit_code == 0, result.output
    assert cli("verify", RELEASE).exit_code == 0
    assert [path.name for path in (cli.folder / "releases").iterdir()] == ["flat"]


def test_training_brings_it_back(cli: Cli) -> None:
    cut_off(cli.folder)
    real = synthkit.real(cli.folder / RELEASE, root=str(cli.folder / "real"))
    assert len(real) == 9


def test_a_link_to_a_release_that_lost_its_name(cli: Cli) -> None:
    (cli.folder / "latest").symlink_to(RELEASE)
    cut_off(cli.folder)
    assert cli("show", "latest").exit_code == 0
    assert cli("audit", "latest").exit_code == 0
    assert (cli.folder / "latest").is_symlink()
    assert (cli.folder / RELEASE / "audit.json").exists()


def test_what_a_kill_left_of_an_audit_is_removed_by_a_build_that_has_nothing_to_do(cli: Cli) -> None:
    shutil.copytree(cli.folder / RELEASE, cli.folder / "releases/.flat.new")
    shutil.copytree(cli.folder / RELEASE, cli.folder / "releases/.flat.trash")
    (cli.folder / "releases/.flat.lock").write_text("1")
    assert "nothing to do" in cli(*BUILD).output
    assert [path.name for path in (cli.folder / "releases").iterdir()] == ["flat"]


def test_a_release_without_a_name_or_a_folder_is_no_release(cli: Cli) -> None:
    assert last_line(cli, "audit", "releases/gone") == "error: releases/gone: there is no such folder"
    assert not list((cli.folder / "releases").glob(".*"))
    assert "it has no manifest.json" in last_line(cli, "audit", "real")
    assert not list(cli.folder.glob(".real.*"))


# --- what a power cut left of an earlier synthkit, which did not wait for the disk --------------------


def test_an_empty_manifest_of_this_very_build_is_written_again(cli: Cli) -> None:
    release = cli.folder / RELEASE
    before = digests(release)
    for name in ("manifest.json", "README.md", "croissant.json"):
        (release / name).write_bytes(b"" if name == "README.md" else bytes(5000))
    result = cli(*BUILD)
    assert result.exit_code == 0, result.output
    assert digests(release) == before


@pytest.mark.parametrize("odd", ["notes.txt", "data/train-00003.tar", "data/train-00000.tar"])
def test_an_empty_manifest_beside_something_else_is_left_alone(cli: Cli, odd: str) -> None:
    (cli.folder / RELEASE / "manifest.json").write_bytes(b"")
    (cli.folder / RELEASE / odd).unlink(missing_ok=True)
    (cli.folder / RELEASE / odd).write_bytes(b"mine")
    assert "move it away, choose another --out, or replace it with --overwrite" in last_line(cli, *BUILD)
    assert (cli.folder / RELEASE / odd).read_bytes() == b"mine"


# --- what an audit compares, and keeps --------------------------------------------------------------


def test_an_audit_wants_the_real_images_that_the_release_was_made_from(cli: Cli) -> None:
    before = digests(cli.folder / RELEASE)
    shutil.copytree(cli.folder / "real", cli.folder / "others")
    Image.new("RGB", (8, 8)).save(cli.folder / "others/a/0.png")
    shutil.copyfile(cli.folder / "real/a/0.png", cli.folder / "others/a/9.png")
    told = last_line(cli, "audit", RELEASE, "--set", "source.root=others")
    assert told.startswith(
        "error: the real images here are not those that flat was made from: 10 with digest "
    )
    assert ", not 9 with " in told
    assert told.endswith("; point --set source.root=… to the same ones")
    assert digests(cli.folder / RELEASE) == before
    shutil.copytree(cli.folder / "real", cli.folder / "moved")
    result = cli("audit", RELEASE, "--set", "source.root=moved")
    assert result.exit_code == 0, result.output
    assert "compared with the 9 real images that it was made from (digest " in result.output
    assert "and with 0 held-out ones that are here" in result.output


def test_an_audit_loses_no_file_that_is_not_the_releases(cli: Cli) -> None:
    (cli.folder / RELEASE / "notes.txt").write_text("mine")
    told = last_line(cli, "audit", RELEASE)
    assert told == (
        f"error: {RELEASE}: holds files that are not the release's (notes.txt); "
        "move them away, then run this again"
    )
    assert (cli.folder / RELEASE / "notes.txt").read_text() == "mine"


def test_an_audit_of_the_current_folder(cli: Cli) -> None:
    inside = Cli(cli.folder / RELEASE)
    result = inside("audit", ".", "--set", "source.root=../../real")
    assert result.exit_code == 0, result.output
    assert (cli.folder / RELEASE / "audit.json").exists()
    assert cli("verify", RELEASE).exit_code == 0


# --- files that users keep --------------------------------------------------------------------------


def test_a_picture_follows_a_link_and_what_killed_writers_left_goes(cli: Cli) -> None:
    folder = cli.folder / "drawn"
    folder.mkdir()
    (folder / "latest.png").symlink_to("3.png")
    (folder / ".3.png.0123abcd.tmp").write_bytes(b"half")
    (folder / ".4.png.0123abcd.tmp").write_bytes(b"of another file")
    assert cli("show", RELEASE, "3", "--picture", "drawn/latest.png").exit_code == 0
    assert sorted(path.name for path in folder.iterdir()) == [".4.png.0123abcd.tmp", "3.png", "latest.png"]
    with Image.open(folder / "3.png") as picture:
        assert picture.width > 300


def test_what_is_no_file_is_written_to_and_stays(cli: Cli) -> None:
    assert cli("show", RELEASE, "3", "--picture", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()
    assert last_line(cli, "show", RELEASE, "3", "--picture", ".") == "error: .: Is a directory"


# What writes by itself, and why that is no file of a final name.
OWN_WAYS = {
    "synthkit/system/files.py": "the way",
    "synthkit/release/folder.py": "into .NAME.new, and the names of releases",
    "synthkit/builder/finish.py": "into .NAME.new",
    "synthkit/exports/coco.py": "into .NAME.new",
    "synthkit/exports/export.py": "into .NAME.new",
    "synthkit/exports/fiftyone.py": "into .NAME.new",
    "synthkit/exports/imagefolder.py": "into .NAME.new",
    "synthkit/publish/pull.py": "into what is arriving",
    "synthkit/publish/sign.py": "into a temporary folder",
    "synthkit/verification/signature.py": "into a temporary folder",
    "synthkit/release/shards.py": "a shard's temporary name",
    "synthkit/builder/workspace.py": "removes the work folder",
    "synthkit/builder/engines/ray_actor.py": "a scratch folder of one process",
}
WRITES = re.compile(
    r"\.write_(bytes|text)\(|open\([^)]*[\"'][rb]*[wx]|\.rename\(|os\.(rename|replace)\(|rmtree\("
)


def test_nothing_else_writes_files_by_itself() -> None:
    root = ROOT
    writing = {
        path.relative_to(root).as_posix()
        for package in ("synthkit", "eval/synthkit_eval")
        for path in (root / package).rglob("*.py")
        if any(WRITES.search(line) for line in path.read_text().splitlines())
    }
    assert writing == OWN_WAYS.keys()
