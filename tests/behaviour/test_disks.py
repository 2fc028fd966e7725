"""Disks that are full or read-only, and a machine without memory: told in one line, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli, digests
from tests.helpers.warm import Warm
from tests.helpers.workers import finished_shards, flat_cli, leftovers


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 600 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, "size=600k"):
        pytest.skip("only the superuser can make a small disk; test_bad_input.py limits files instead")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_full_disk_stops_the_build_and_what_is_finished_stays(
    disk: Path, tmp_path: Path, workers: str
) -> None:
    whole = flat_cli(tmp_path / "whole")
    assert whole("build", "flat.yaml").exit_code == 0
    cli = Cli(whole.folder)
    full = cli("build", "flat.yaml", "--out", disk, "--workers", workers)
    assert full.exit_code == 1
    last = full.output.strip().splitlines()[-1]
    assert last.startswith(f"error: {disk}/.synthkit")
    assert "No space left on device; what is finished is kept: make room and run the same command" in last
    before = finished_shards(disk)
    assert 0 < len(before) < 12
    assert not list(disk.rglob("*.tmp"))
    assert mount_again(disk, "size=20m")
    result = cli("build", "flat.yaml", "--out", disk)
    assert result.exit_code == 0, result.output
    made = int(result.output.split(" of them made now")[0].split()[-1])
    assert made <= 240 - 20 * len(before)
    assert digests(disk / "flat") == digests(whole.folder / "releases/flat")
    assert not leftovers(disk)


def mount_again(folder: Path, options: str) -> bool:
    command = ["mount", "-o", f"remount,{options}", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_read_only_disk_is_told(disk: Path, tmp_path: Path) -> None:
    cli = flat_cli(tmp_path / "flat")
    assert mount_again(disk, "ro")
    result = cli("build", "flat.yaml", "--out", disk)
    assert result.exit_code == 1
    last = result.output.strip().splitlines()[-1]
    assert last.startswith(f"error: {disk}")
    assert "Read-only file system; choose a folder you may write to with --out" in last


@pytest.mark.slow
def test_a_batch_without_memory_names_the_setting(cli: Cli, warm: Warm) -> None:
    cli.recipe()
    large = ("--set", "sampler.batch_size=1024")
    process = warm.start("build", "recipe.yaml", *large, cwd=cli.folder, memory=MEMORY)
    _, told = process.communicate()
    assert process.returncode == 1, told
    last = told.strip().splitlines()[-1]
    assert last == (
        "error: the device has too little memory for batches of 1024: lower sampler.batch_size or set "
        "arithmetic.vae_slicing"
    )


# In bytes, beside what a process has that has loaded its libraries.
MEMORY = 300_000_000
