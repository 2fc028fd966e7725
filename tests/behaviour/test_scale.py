"""What must hold for a release of any size: memory does not grow with it, and nothing is read twice."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from synthkit.builder.inputs import read_inputs
from synthkit.builder.options import Options
from synthkit.builder.target import Target
from synthkit.builder.workspace import Workspace
from synthkit.recipe.load import load
from synthkit.release.manifest import read_manifest
from synthkit.verification.verify import verify_release
from tests.conftest import Cli

SMALL, LARGE = 25, 100
# Of every flat image, whatever its draw, there is something to say.
FLAT = (
    "model.id=builtin:flat-colours",
    "filters={blank: {}, label_agreement: {max_rank: 3}, max_draws: 2}",
    "output.shard_size=64",
)


def overrides(target: int) -> list[str]:
    return [*FLAT, f"target_per_class={target}"]


def build(cli: Cli, target: int) -> None:
    flags = [word for override in overrides(target) for word in ("--set", override)]
    result = cli("build", cli.recipe(), "--out", str(target), *flags)
    assert result.exit_code == 0, result.output


def peak(work: Callable[[], object]) -> int:
    """The most memory that Python held at once, beside what it held before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Two releases, one of them four times as large."""
    cli = Cli(tmp_path_factory.mktemp("scale"))
    build(cli, SMALL)
    build(cli, LARGE)
    return cli


def writing(cli: Cli, target: int) -> Callable[[], object]:
    options = Options(out=cli.folder / str(target))
    inputs = read_inputs(load(cli.folder / "recipe.yaml", overrides(target)), options.work_root)
    work = Workspace(options.work_root, inputs)
    again = cli.folder / "again"
    again.mkdir(exist_ok=True)
    return lambda: Target(inputs, Options(out=again, overwrite=True)).write(work)


def verifying(cli: Cli, target: int) -> Callable[[], object]:
    release = cli.folder / str(target) / "small"
    return lambda: verify_release(release, read_manifest(release), lambda count: None)


@pytest.mark.parametrize("what", [writing, pytest.param(verifying, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_release(
    cli: Cli, what: Callable[[Cli, int], Callable[[], object]]
) -> None:
    what(cli, SMALL)()  # What is imported on first use.
    small, large = (peak(what(cli, target)) for target in (SMALL, LARGE))
    # Of four times the images; two shards are read at once, or one after the other, as threads will.
    assert large < 2 * small


def test_gates_are_counted_over_all_shards(cli: Cli) -> None:
    release = cli.folder / str(LARGE) / "small"
    rows: list[dict[str, Any]] = pq.read_table(release / "provenance/train-00000.parquet").to_pylist()
    draws = [draw for row in rows for draw in row["rejected"]]
    facts = read_manifest(release).filters
    assert facts is not None
    assert facts.redrawn == sum(row["attempt"] > 0 for row in rows) == len(rows)
    assert facts.rejected_draws == len(draws) == 2 * len(rows)
    assert facts.kept_although_rejected == len(rows)
    assert facts.reasons == Counter(why.split(":")[0] for draw in draws for why in draw.split("; "))
    assert set(facts.reasons) == {"blank", "label-agreement"}


def test_merge_tells_which_copy_of_a_shard_is_damaged(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    recipe = (cli.recipe(), "--set", "model.id=builtin:flat-colours")
    for part in (1, 2):
        result = cli("build", *recipe, "--shards", f"{part}/2", "--out", f"node{part}")
        assert result.exit_code == 0, result.output
    damaged = next(tmp_path.glob("node2/.synthkit/*/shards/*.tar"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + b"x")
    result = cli("merge", *recipe, "node1", "node2")
    assert result.exit_code == 1
    told = " ".join(result.output.split())
    assert f"{damaged.relative_to(tmp_path)}: is not what its sidecar says; copy it again" in told
    assert not (tmp_path / "releases" / "small").exists()
    damaged.write_bytes(whole)
    result = cli("merge", *recipe, "node1", "node2")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "releases/small/manifest.json").read_text())["images"] == 76
