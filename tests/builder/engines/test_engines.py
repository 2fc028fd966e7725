"""A new engine is a class and a line in the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthkit.builder.engines import ENGINES, Entry, find_engine
from synthkit.builder.engines.display import Display
from synthkit.builder.engines.job import Job
from synthkit.builder.engines.local import Local
from synthkit.builder.options import Options
from synthkit.errors import BuildError
from tests.conftest import Cli, digests
from tests.helpers.workers import flat_cli

runs: list[tuple[int, ...]] = []


class Backwards:
    """Makes shards on this machine, the last one first."""

    def check(self, options: Options) -> None:
        if options.address is not None:
            raise BuildError("--address: there is no cluster")

    def run(self, job: Job, options: Options, display: Display) -> int:
        runs.append(job.missing)
        backwards = Job(job.inputs, job.store, job.missing[::-1], job.done)
        return Local().run(backwards, options, display)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setitem(ENGINES, "backwards", Entry(f"{__name__}:Backwards", "this machine", False))
    runs.clear()
    return flat_cli(tmp_path / "flat", shards=4)


def test_another_engine_makes_the_same_bytes(cli: Cli) -> None:
    assert cli("build", "flat.yaml", "--out", "forwards").exit_code == 0
    result = cli("build", "flat.yaml", "--engine", "backwards")
    assert result.exit_code == 0, result.output
    assert "240 of them made now" in result.output
    assert runs == [(0, 1, 2, 3)]
    assert digests(cli.folder / "releases/flat") == digests(cli.folder / "forwards/flat")


def test_it_makes_what_is_missing_and_nothing_else(cli: Cli) -> None:
    assert cli("build", "flat.yaml", "--shards", "1/2").exit_code == 0
    assert cli("build", "flat.yaml", "--engine", "backwards").exit_code == 0
    assert cli("build", "flat.yaml", "--engine", "backwards").exit_code == 0
    assert runs == [(2, 3)]


def test_what_it_cannot_do_is_refused_before_images_are_read(cli: Cli) -> None:
    result = cli("build", "flat.yaml", "--engine", "backwards", "--address", "here:1")
    assert result.output == "error: --address: there is no cluster\n"
    result = cli("build", "flat.yaml", "--engine", "backwards", "--out", "file:///somewhere")
    assert result.output == (
        "error: --out file:///somewhere: only --engine ray writes to an address; give a folder\n"
    )


def test_one_that_is_not_in_the_table_is_refused_with_those_that_are() -> None:
    with pytest.raises(BuildError, match="--engine dask: there is no such engine; there are local and ray"):
        find_engine("dask")
