"""Builds by worker processes: the same bytes, whoever dies, hangs or is told to stop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from synthkit.builder.drafts import Samples, draft_path, write_draft
from synthkit.builder.engines.display import Display
from synthkit.builder.engines.local import Observer
from synthkit.release.records import read_record
from synthkit.release.shards import read_sidecar
from tests.conftest import Cli, digests
from tests.helpers.paths import ROOT
from tests.helpers.warm import Warm, WarmProcess
from tests.helpers.workers import (
    SHARDS,
    finished_shards,
    flat_cli,
    flat_recipe,
    is_alive,
    leftovers,
    wait_until,
    workers_of,
)

TWO = ("--workers", "2")


@pytest.fixture(scope="module")
def flat_release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cli = flat_cli(tmp_path_factory.mktemp("flat"), size=512)
    result = cli("build", "flat.yaml")
    assert result.exit_code == 0, result.output
    return digests(cli.folder / "releases/flat")


@pytest.fixture
def flat(tmp_path: Path) -> Cli:
    return flat_cli(tmp_path / "flat", size=512)


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build of images that cost little, where nothing has to happen meanwhile. Copy it."""
    cli = flat_cli(tmp_path_factory.mktemp("small") / "flat", size=32)
    assert cli("build", "flat.yaml").exit_code == 0
    return cli.folder


def start(warm: Warm, cli: Cli, *more: str) -> WarmProcess:
    process = warm.start("build", "flat.yaml", *TWO, *more, cwd=cli.folder)
    wait_until(lambda: finished_shards(cli.folder) or process.poll() is not None)
    return process


def made_now(output: str) -> int:
    found = re.search(r"([\d,]+) of them made now", output)
    assert found, output
    return int(found[1].replace(",", ""))


@pytest.mark.slow
def test_two_workers_make_the_same_bytes_with_a_real_model(cli: Cli, small_release: Path) -> None:
    result = cli("build", cli.recipe(), *TWO)
    assert result.exit_code == 0, result.output
    assert "76 of them made now" in result.output
    assert digests(cli.folder / "releases/small") == digests(small_release)


@pytest.mark.slow
def test_more_workers_than_shards(flat: Cli, flat_release: dict[str, str]) -> None:
    assert flat("build", "flat.yaml", "--set", "output.shard_size=120", "--workers", "5").exit_code == 0
    assert len(finished_shards(flat.folder)) == 2


@pytest.mark.slow
def test_a_killed_workers_shard_is_made_by_another(
    flat: Cli, warm: Warm, flat_release: dict[str, str]
) -> None:
    process = start(warm, flat)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    out, told = process.communicate()
    assert process.returncode == 0, told
    assert "a worker on none was ended by signal 9; another takes its place" in told
    assert "flat: 240 images in 12 shard(s)" in out
    assert digests(flat.folder / "releases/flat") == flat_release
    assert not leftovers(flat.folder)


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(flat: Cli, warm: Warm, flat_release: dict[str, str]) -> None:
    process = start(warm, flat, "--worker-timeout", "3")
    os.kill(workers_of(process.pid)[0], signal.SIGSTOP)
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert "showed no sign of life for 3 s; another takes its place" in told
    assert digests(flat.folder / "releases/flat") == flat_release


def test_workers_keep_what_they_made_when_the_build_is_killed(
    flat: Cli, warm: Warm, flat_release: dict[str, str]
) -> None:
    process = start(warm, flat)
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # Before the workers have ended: it waits for them.
    result = flat("build", "flat.yaml")
    assert result.exit_code == 0, result.output
    assert not any(map(is_alive, workers))
    assert 0 < made_now(result.output) <= 240 - 20
    assert digests(flat.folder / "releases/flat") == flat_release
    assert not leftovers(flat.folder)


@pytest.mark.parametrize("more", [pytest.param((), marks=pytest.mark.slow), TWO])
@pytest.mark.slow
def test_sigterm_finishes_the_batch_and_exits_143(
    flat: Cli, warm: Warm, flat_release: dict[str, str], more: tuple[str, ...]
) -> None:
    # Long shards: what was made of one is what counts.
    long = ("--set", "output.shard_size=60", "--set", "output.size=640")
    process = warm.start("build", "flat.yaml", *long, *more, cwd=flat.folder)
    wait_until(lambda: finished_shards(flat.folder) or process.poll() is not None)
    workers = workers_of(process.pid)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 143, told
    assert "stopping after this batch" in told
    assert "stopped; what is made is kept, and the same command goes on" in told
    assert "Traceback" not in told
    assert not any(map(is_alive, workers))
    drafts = list(flat.folder.glob(".synthkit/*/shards/*.draft"))
    assert drafts
    result = flat("build", "flat.yaml", *long)
    assert 0 < made_now(result.output) < 180
    assert not leftovers(flat.folder)
    assert flat("verify", "releases/flat").exit_code == 0


def test_a_damaged_draft_is_as_good_as_none(tmp_path: Path, small_images: Path) -> None:
    flat = flat_cli(tmp_path / "flat", size=32)
    assert flat("build", "flat.yaml", "--shards", "1/12").exit_code == 0
    shards = next(flat.folder.glob(".synthkit/*/shards"))
    tar = next(shards.glob("*.tar"))
    whole = tar.read_bytes()
    for number, content in enumerate((b"", b"junk", whole, whole[:5000])):
        draft_path(shards, tar.name.replace("00000", f"{number + 1:05d}")).write_bytes(content)
    result = flat("build", "flat.yaml")
    assert made_now(result.output) == 220
    assert digests(flat.folder / "releases/flat") == digests(small_images / "releases/flat")
    assert not leftovers(flat.folder)


def test_a_draft_is_taken_for_what_it_is_and_nothing_else(tmp_path: Path, small_images: Path) -> None:
    """A whole one saves work; one with a record edited, or of another shard, does not."""
    flat = Cli(shutil.copytree(small_images, tmp_path / "flat"))
    shards = next(flat.folder.glob(".synthkit/*/shards"))
    tars = sorted(shards.glob("*.tar"))
    origin = read_sidecar(tars[0].with_suffix(".json")).origin  # type: ignore[union-attr]
    made = {number: samples(tar) for number, tar in enumerate(tars[:3])}
    for tar in tars[:3]:
        tar.unlink()
    shutil.rmtree(flat.folder / "releases")
    write_draft(draft_path(shards, tars[0].name), made[0], origin, "png")
    write_draft(draft_path(shards, tars[1].name), made[0], origin, "png")
    write_draft(draft_path(shards, tars[2].name), made[2], origin, "png")
    edited = draft_path(shards, tars[2].name)
    raw = edited.read_bytes()
    seed = re.search(rb'"seed":(\d)', raw)
    assert seed
    edited.write_bytes(raw[: seed.start(1)] + b"%d" % (9 - int(seed[1])) + raw[seed.end(1) :])
    result = flat("build", "flat.yaml")
    assert made_now(result.output) == 40
    assert digests(flat.folder / "releases/flat") == digests(small_images / "releases/flat")


def samples(tar: Path) -> Samples:
    """The images of a shard, with their records."""
    with tarfile.open(tar) as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    keys = [name.removesuffix(".cls") for name in members if name.endswith(".cls")]
    return {int(key): (read_record(members[f"{key}.json"]), members[f"{key}.png"]) for key in keys}


def test_an_error_of_a_worker_is_the_builds(cli: Cli, warm: Warm) -> None:
    flat_recipe(cli.folder)
    limited = warm.start("build", "flat.yaml", *TWO, cwd=cli.folder, file_size=20_000)
    _, told = limited.communicate()
    assert limited.returncode == 1, told
    assert told.splitlines()[-1].startswith("error: ")
    assert "what is finished is kept: make room and run the same command again" in told.splitlines()[-1]
    assert "Traceback" not in told
    assert cli("build", "flat.yaml").exit_code == 0
    assert not leftovers(cli.folder)


def test_workers_that_always_die_end_the_build(flat: Cli, warm: Warm) -> None:
    process = warm.start("build", "flat.yaml", *TWO, cwd=flat.folder)
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline
        for worker in workers_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.01)
    _, told = process.communicate()
    assert process.returncode == 1
    assert "error: workers: 3 workers in a row did not survive getting ready" in told
    assert "was ended by signal 9" in told


@pytest.mark.slow
def test_a_worker_that_hangs_before_it_reads_its_orders_is_replaced(flat: Cli, warm: Warm) -> None:
    # Large images: the other worker must not be done before this one is given up.
    large = ("--set", "output.size=2048", "--worker-timeout", "4")
    process = warm.start("build", "flat.yaml", *TWO, *large, cwd=flat.folder)
    wait_until(lambda: workers_of(process.pid))
    os.kill(workers_of(process.pid)[0], signal.SIGSTOP)
    _, told = process.communicate()
    assert process.returncode == 0, told
    assert "showed no sign of life for 4 s; another takes its place" in told
    assert flat("verify", "releases/flat").exit_code == 0


def test_nothing_going_on_ends_a_process_and_signs_of_life_do_not() -> None:
    pid = os.fork()
    if pid == 0:
        with Display(10, 0) as display:
            observer = Observer(display, 0.4)
            for _ in range(4):
                time.sleep(0.2)
                observer.alive()
            time.sleep(30)
        os._exit(0)
    started = time.monotonic()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert 1.0 < time.monotonic() - started < 10


def test_sigterm_without_anybody_to_tell_exits_143_all_the_same(flat: Cli) -> None:
    command = [sys.executable, "-m", "synthkit", "build", "flat.yaml", "--set", "output.size=1024"]
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=flat.folder, stderr=writing, env=environment)
    os.close(writing)
    wait_until(lambda: finished_shards(flat.folder))
    os.close(reading)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143


@pytest.mark.parametrize("workers", ["0", "-1", "two", "5000"])
def test_numbers_of_workers_that_cannot_be(flat: Cli, workers: str) -> None:
    result = flat("build", "flat.yaml", f"--workers={workers}")
    assert result.exit_code == 1
    assert f"error: --workers {workers}: must be auto, or a number from 1 to 1024" in result.output


def test_shards_are_many(flat_release: dict[str, str]) -> None:
    assert len([name for name in flat_release if name.endswith(".tar")]) == SHARDS
