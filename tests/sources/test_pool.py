"""Each real image is hashed once, missing ones are told before any is read, and none changes unseen."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from synthkit.errors import SourceError
from synthkit.recipe.families import FolderSourceConfig
from synthkit.sources import open_source
from synthkit.sources.files import ImageFiles
from synthkit.sources.leaks import Leak, leaks
from synthkit.sources.pool import RealImages, read_all
from synthkit.system.known_hashes import FILE, KnownHashes, open_known_hashes
from tests.conftest import FLAT, Cli
from tests.helpers import miniatures


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of three."""
    for number in range(6):
        path = tmp_path / "images" / f"class {number % 2}" / f"{number}.png"
        miniatures.photo(path, number)
    return tmp_path / "images"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    original = ImageFiles.read

    def counted(self: ImageFiles, index: int) -> bytes:
        names.append(self.paths[index])
        return original(self, index)

    monkeypatch.setattr(ImageFiles, "read", counted)
    return names


def read(images: Path, known_hashes: KnownHashes | None = None) -> RealImages:
    source = open_source(FolderSourceConfig(kind="folder", root=str(images)))
    return read_all(
        source, on_error="stop", known_hashes=known_hashes or KnownHashes(), advance=lambda count: None
    )


def read_again(images: Path) -> RealImages:
    with open_known_hashes(images.parent / FILE) as known_hashes:
        return read(images, known_hashes)


def read_later(images: Path) -> RealImages:
    """Read them when every image's last change is long enough ago to be remembered, by the clock."""
    now = time.time_ns()
    with mock.patch("synthkit.system.known_hashes.time.time_ns", lambda: now + 2_100_000_000):
        found = read_again(images)
    # The next change of a file gets another time, also where the disk's clock ticks slowly.
    time.sleep(0.02)
    return found


def test_an_image_is_read_and_hashed_once_over_all_runs(images: Path, reads: list[str]) -> None:
    time.sleep(2.1)
    first = read_again(images)
    assert sorted(reads) == sorted(first.listing.ids)
    reads.clear()
    second = read_again(images)
    assert reads == []
    assert second.sha256 == first.sha256
    wanted = hashlib.sha256((images / first.listing.ids[4]).read_bytes()).hexdigest()
    assert first.sha256[4] == wanted


def test_a_changed_image_is_read_again_and_only_that(images: Path, reads: list[str]) -> None:
    before = read_later(images).sha256
    reads.clear()
    miniatures.photo(images / "class 0/2.png", 99)
    after = read_again(images)
    assert reads == ["class 0/2.png"]
    assert [a == b for a, b in zip(before, after.sha256, strict=True)] == [
        name != "class 0/2.png" for name in after.listing.ids
    ]


def test_a_file_that_changed_just_now_is_not_trusted_to_its_time(images: Path, reads: list[str]) -> None:
    read_later(images)
    reads.clear()
    (images / "class 0/2.png").touch()
    read_again(images)
    reads.clear()
    read_again(images)
    assert reads == ["class 0/2.png"]


def test_a_change_that_hides_its_time_is_seen(images: Path, reads: list[str]) -> None:
    path = images / "class 0/2.png"
    path.write_bytes(bytes(1000))
    Image.new("RGB", (20, 20)).save(path, "BMP")
    read_later(images)
    reads.clear()
    before, then = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(before[:-1] + b"\7")
    os.utime(path, ns=(then, then))
    assert read_again(images).sha256[1] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_remembered_may_be_damaged_or_deleted(images: Path) -> None:
    before = read_later(images).sha256
    remembered = images.parent / FILE
    whole = remembered.read_bytes()
    for damage in (b"no database", b"", whole[:5000], whole[:4096] + bytes([7]) * (len(whole) - 4096)):
        remembered.write_bytes(damage)
        assert read_later(images).sha256 == before
    remembered.unlink()
    assert read_later(images).sha256 == before
    with sqlite3.connect(remembered) as connection:
        assert connection.execute("SELECT count(*) FROM contents").fetchone() == (6,)


def test_damage_while_it_is_open_is_no_hindrance(images: Path) -> None:
    connection = sqlite3.connect(images.parent / FILE, check_same_thread=False)
    # A table of another shape: every question and every note fails.
    connection.execute("CREATE TABLE contents (other TEXT)")
    assert len(read(images, KnownHashes(connection)).sha256) == 6


def test_a_place_that_cannot_be_written_is_no_hindrance(images: Path) -> None:
    (images.parent / "file").write_text("")
    with open_known_hashes(images.parent / "file" / FILE) as known_hashes:
        assert len(read(images, known_hashes).sha256) == 6


def test_an_image_that_changes_during_a_build_is_told(images: Path) -> None:
    real = read(images)
    assert real.load(0).size == (24, 20)
    miniatures.photo(images / real.listing.ids[0], 99)
    with pytest.raises(SourceError, match=r"class 0/0.png: changed while the build was running"):
        real.load(0)


def test_leaks_are_found_by_id_and_by_content(images: Path, tmp_path: Path) -> None:
    pool = read(images)
    assert leaks(pool, pool.source, lambda count: None) == [
        Leak(name, name, "id") for name in pool.listing.ids
    ]
    other = tmp_path / "other"
    miniatures.photo(other / "class 0" / "copy.png", 4)
    miniatures.photo(other / "class 0" / "new.png", 77)
    scoring = read(other).source
    assert leaks(pool, scoring, lambda count: None) == [Leak("class 0/4.png", "class 0/copy.png", "content")]


def test_missing_images_are_told_first_with_five_names_and_the_count(cli: Cli) -> None:
    miniatures.imagenet(cli.folder / "imagenet", [0, 1], 6, cli.folder / "list.txt")
    for path in sorted((cli.folder / "imagenet").rglob("*.JPEG"))[:7]:
        path.unlink()
    changes = ("source.kind=listing", "source.list=list.txt", "source.root=imagenet", "source.names=[a, b]")
    flags = [*FLAT, *(word for change in changes for word in ("--set", change))]
    assert cli("plan", cli.recipe(), *flags).exit_code == 0
    result = cli("build", cli.recipe(), *flags)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith(
        "error: 7 of 12 real images are missing or cannot be reached: imagenet/train/n01440764/"
    )
    assert line.count(".JPEG") == 5
    assert "and 2 more; check source.root" in line
    skipping = cli("build", cli.recipe(), *flags, "--set", "source.on_error=skip")
    assert skipping.exit_code == 1
    assert "every image of class a was skipped" in skipping.output


def test_a_pipe_is_no_image_and_is_not_waited_for(images: Path) -> None:
    source = read(images).source
    (images / "class 0/2.png").unlink()
    os.mkfifo(images / "class 0/2.png")
    with pytest.raises(SourceError, match=r"class 0/2.png: cannot be read: it is not a file"):
        source.read(1)


def test_a_build_refuses_a_pool_that_holds_an_image_that_scores(cli: Cli) -> None:
    root = miniatures.caltech101(cli.folder / "caltech", per_class=4)
    changes = ("source.kind=folder", f"source.root={root}", "source.halve={seed: 0}", "source.shots=2")
    flags = [*FLAT, *(word for change in changes for word in ("--set", change))]
    assert cli("build", cli.recipe(), *flags, "--limit", "4").exit_code == 0
    for number in (2, 3, 4):
        shutil.copy(root / "Faces/image_0001.jpg", root / f"Faces/image_{number:04d}.jpg")
    result = cli("build", cli.recipe(), *flags)
    assert result.exit_code == 1
    assert "error: source.shots: 2 held-out images are in the pool: Faces/image_" in result.output
    assert "leave one out with source.exclude" in result.output
    assert not (cli.folder / "releases/small").exists()


def test_shots_are_exact_and_cannot_be_skipped(cli: Cli) -> None:
    result = cli("plan", cli.recipe(), "--set", "source.shots=2", "--set", "source.on_error=skip")
    assert result.exit_code == 1
    assert "on_error: skip could leave a class with fewer than its shots" in result.output
