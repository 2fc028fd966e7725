"""SIGKILLs at random moments over a build and its workers change no byte."""

from __future__ import annotations

import json
import os
import random
import signal
import tarfile
import time
from pathlib import Path

import pytest

from tests.conftest import digests
from tests.helpers.warm import Warm, WarmProcess
from tests.helpers.workers import finished_shards, flat_cli, is_alive, leftovers, wait_until, workers_of

SHARDS = 40


@pytest.mark.slow
@pytest.mark.parametrize("kills", [20, 50])
def test_many_kills_change_no_byte(tmp_path: Path, warm: Warm, kills: int) -> None:
    rng = random.Random(7)
    undisturbed = flat_cli(tmp_path / "undisturbed", shards=SHARDS, size=512)
    assert undisturbed("build", "flat.yaml").exit_code == 0
    cli = flat_cli(tmp_path / "chaos", shards=SHARDS, size=512)
    process: WarmProcess | None = None
    seen: set[int] = set()
    before: set[str] = set()
    killed = {"build": 0, "worker": 0}
    while sum(killed.values()) < kills:
        if process is None or process.poll() is not None:
            if process is not None and process.returncode == 0:
                # Done before the last kill: what is missing is made again.
                forget_some(cli.folder, rng)
                before = finished_shards(cli.folder)
            process = warm.start("build", "flat.yaml", "--workers", "2", cwd=cli.folder)
        await_a_moment(process, cli.folder, rng)
        victims = workers_of(process.pid)
        seen |= set(victims)
        if victims and rng.random() < 0.5:
            os.kill(rng.choice(victims), signal.SIGKILL)
            killed["worker"] += 1
        elif process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed["build"] += 1
        # What is finished stays finished.
        after = finished_shards(cli.folder)
        assert before <= after
        before = after
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    print(f"{killed}, {len(before)} of {SHARDS} shards finished before the last run")
    assert min(killed.values()) > 0
    result = cli("build", "flat.yaml", "--workers", "2")
    assert result.exit_code == 0, result.output
    assert digests(cli.folder / "releases/flat") == digests(undisturbed.folder / "releases/flat")
    assert not leftovers(cli.folder)
    wait_until(lambda: not any(map(is_alive, seen)), 30)


def await_a_moment(process: WarmProcess, folder: Path, rng: random.Random) -> None:
    """Early, while workers start, or late, when the next shard is there: on a busy machine, too."""
    before, late = tars(folder), rng.random() < 0.5
    wait_until(
        lambda: process.poll() is not None or (tars(folder) > before if late else workers_of(process.pid))
    )
    time.sleep(rng.uniform(0, 0.2))


def tars(folder: Path) -> int:
    return len(list(folder.glob(".synthkit/*/shards/*.tar")))


def forget_some(folder: Path, rng: random.Random) -> None:
    """As if a few shards were lost, and the release with them."""
    import shutil

    shutil.rmtree(folder / "releases")
    for tar in rng.sample(sorted(folder.glob(".synthkit/*/shards/*.tar")), SHARDS // 2):
        tar.unlink()


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_at_most_its_shard(tmp_path: Path, warm: Warm) -> None:
    cli = flat_cli(tmp_path / "chaos", shards=6, size=512)
    process = warm.start("build", "flat.yaml", "--workers", "2", cwd=cli.folder)
    wait_until(lambda: finished_shards(cli.folder))
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 0, told
    log = next(cli.folder.glob(".synthkit/flat-*/build.jsonl")).read_text().splitlines()
    event = json.loads(log[-1])
    # A shard of 40 can be whole before the worker that is killed has told of it.
    assert event["images"] in (200, 240)
    assert event["lost"] <= 40


@pytest.mark.slow
def test_a_build_that_is_killed_loses_nothing_of_its_workers(tmp_path: Path, warm: Warm) -> None:
    cli = flat_cli(tmp_path / "chaos", shards=4, size=512)
    process = warm.start("build", "flat.yaml", "--workers", "2", cwd=cli.folder)
    wait_until(lambda: finished_shards(cli.folder))
    workers = workers_of(process.pid)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(is_alive, workers)))
    shards = next(cli.folder.glob(".synthkit/flat-*/shards"))
    kept = sum(count_records(path) for path in shards.glob("*.draft"))
    done = 60 * len(finished_shards(cli.folder))
    assert kept + done > 60
    result = cli("build", "flat.yaml")
    assert f" {240 - kept - done} of them made now" in result.output


def count_records(draft: Path) -> int:
    with tarfile.open(draft) as tar:
        return sum(name.endswith(".cls") for name in tar.getnames())
