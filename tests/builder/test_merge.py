"""Parts of a build made by many machines, and what `synthkit merge` makes of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from synthkit.release.shards import ShardFacts
from synthkit.system.files import sha256_of
from tests.conftest import Cli, digests
from tests.helpers.paths import ROOT
from tests.helpers.workers import SHARDS, finished_shards, flat_cli, leftovers


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole release in `releases`, and parts one/, two/, three/ made on their own."""
    cli = flat_cli(tmp_path_factory.mktemp("parts"), size=32)
    assert cli("build", "flat.yaml").exit_code == 0
    for number, name in enumerate(("one", "two", "three"), 1):
        result = cli("build", "flat.yaml", "--shards", f"{number}/3", "--out", name)
        assert result.exit_code == 0, result.output
        assert f"part {number}/3 is finished, 4 of 12 shards, 80 images made now" in result.output
        assert "synthkit merge" in result.output
        assert not (cli.folder / name / "flat").exists()
    return cli.folder


@pytest.fixture
def cli(parts: Path, tmp_path: Path) -> Cli:
    """The parts without the release, to be changed."""
    for name in ("one", "two", "three", "real"):
        shutil.copytree(parts / name, tmp_path / name)
    shutil.copy(parts / "flat.yaml", tmp_path)
    return Cli(tmp_path)


def first_shard(cli: Cli, part: str) -> Path:
    return sorted((cli.folder / part).glob(".synthkit/*/shards/*.tar"))[0]


def test_three_parts_are_the_release(cli: Cli, parts: Path) -> None:
    result = cli("merge", "flat.yaml", "one", "two", "three")
    assert result.exit_code == 0, result.output
    assert "releases/flat: 240 images in 12 shard(s), 0 of them made now" in result.output
    assert digests(cli.folder / "releases/flat") == digests(parts / "releases/flat")
    assert not leftovers(cli.folder)
    assert "nothing to do" in cli("build", "flat.yaml").output


def test_parts_on_one_file_system_need_no_folders(cli: Cli, parts: Path) -> None:
    for number in (3, 1, 2):
        assert cli("build", "flat.yaml", "--shards", f"{number}/3").exit_code == 0
    assert cli("build", "flat.yaml", "--shards", "2/3").exit_code == 0
    assert len(finished_shards(cli.folder)) == SHARDS
    assert cli("merge", "flat.yaml").exit_code == 0
    assert digests(cli.folder / "releases/flat") == digests(parts / "releases/flat")


def test_work_folders_and_folders_of_shards_are_taken_as_well(cli: Cli, parts: Path) -> None:
    work = next((cli.folder / "one").glob(".synthkit/flat-*"))
    again = ("two", "three", "three/.synthkit")
    assert cli("merge", "flat.yaml", work, work / "shards", *again).exit_code == 0
    assert digests(cli.folder / "releases/flat") == digests(parts / "releases/flat")


def refused(cli: Cli, *folders: str | Path, more: tuple[str, ...] = ()) -> str:
    result = cli("merge", "flat.yaml", *folders, *more)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert not (cli.folder / "releases/flat").exists()
    return result.output.strip().splitlines()[-1]


def test_a_gap_is_named(cli: Cli) -> None:
    assert (
        "error: 4 of 12 shards are missing (4, 5, 6, 7, counted from 0); name the folders that have them"
        in refused(cli, "one", "three")
    )
    # Nothing was taken, as nothing is that cannot be a release.
    assert not finished_shards(cli.folder)
    assert cli("merge", "flat.yaml", "one", "two", "three").exit_code == 0


def test_another_digest_is_refused(cli: Cli) -> None:
    other = ("--set", "seed=1")
    assert cli("build", "flat.yaml", "--shards", "3/3", "--out", "other", *other).exit_code == 0
    told = refused(cli, "one", "two", "other")
    assert "error: other: has no finished shards of flat-" in told
    assert "of another recipe" in told
    shards = next((cli.folder / "other").glob(".synthkit/*/shards"))
    assert "was made from another recipe (digest" in refused(cli, "one", shards)


def test_an_overlap_that_differs_is_refused(cli: Cli) -> None:
    tar = first_shard(cli, "one")
    shutil.copytree(cli.folder / "one", cli.folder / "copy")
    raw = bytearray(tar.read_bytes())
    raw[-1] = 1
    tar.write_bytes(raw)
    sidecar = tar.with_suffix(".json")
    facts = msgspec.json.decode(sidecar.read_bytes(), type=ShardFacts)
    sidecar.write_bytes(msgspec.json.encode(msgspec.structs.replace(facts, sha256=sha256_of(tar))))
    told = refused(cli, "copy", "one", "two", "three")
    assert f"error: one/.synthkit/{tar.parents[1].name}/shards/{tar.name}: differs from another one" in told
    assert "remove the one that you do not trust" in told
    shutil.rmtree(cli.folder / "one")
    assert cli("merge", "flat.yaml", "copy", "two", "three").exit_code == 0


@pytest.mark.parametrize("suffix", [".tar", ".records"])
def test_a_damaged_shard_is_refused(cli: Cli, suffix: str) -> None:
    path = first_shard(cli, "two").with_suffix(suffix)
    raw = bytearray(path.read_bytes())
    raw[700] ^= 1
    path.write_bytes(raw)
    assert "is not what its sidecar says; copy it again" in refused(cli, "one", "two", "three")


@pytest.mark.parametrize("suffix", [".tar", ".records"])
def test_a_link_that_leads_nowhere_is_a_damaged_shard(cli: Cli, suffix: str) -> None:
    """As tools that keep large files elsewhere leave it: DVC, git-annex."""
    path = first_shard(cli, "two").with_suffix(suffix)
    path.unlink()
    path.symlink_to("/nowhere")
    assert "is not what its sidecar says; copy it again" in refused(cli, "one", "two", "three")


def test_a_damaged_sidecar_is_refused(cli: Cli) -> None:
    first_shard(cli, "two").with_suffix(".json").write_text("{}")
    assert ".json: is damaged; remove it, and make the shard again there" in refused(cli, "one", "two")


def test_another_environment_is_refused(cli: Cli, parts: Path) -> None:
    for path in (cli.folder / "three").glob(".synthkit/*/shards/*.json"):
        path.write_text(re.sub(r'"torch":"[^"]*"', '"torch":"1.0.0"', path.read_text()))
    told = refused(cli, "one", "two", "three")
    assert "were made in different environments (torch " in told
    # Made again in the right one, though to the same bytes.
    shutil.rmtree(cli.folder / "three")
    assert cli("build", "flat.yaml", "--shards", "3/3", "--out", "three").exit_code == 0
    assert cli("merge", "flat.yaml", "one", "two", "three").exit_code == 0
    assert digests(cli.folder / "releases/flat") == digests(parts / "releases/flat")


def test_a_build_over_parts_of_different_environments_is_refused(cli: Cli) -> None:
    for number in (1, 2):
        assert cli("build", "flat.yaml", "--shards", f"{number}/2").exit_code == 0
    for path in sorted(cli.folder.glob(".synthkit/*/shards/*.json"))[6:]:
        path.write_text(re.sub(r'"torch":"[^"]*"', '"torch":"1.0.0"', path.read_text()))
    result = cli("build", "flat.yaml")
    assert result.exit_code == 1
    assert "were made in different environments (torch " in result.output
    assert not (cli.folder / "releases/flat").exists()


def test_a_merge_that_was_cut_off_is_undone_and_one_of_a_release_that_is_there_does_nothing(
    cli: Cli, parts: Path
) -> None:
    folders = ("one", "two", "three")
    assert cli("merge", "flat.yaml", *folders).exit_code == 0
    (cli.folder / "releases" / ".flat.old").mkdir()
    result = cli("merge", "flat.yaml", *folders)
    assert result.exit_code == 0, result.output
    assert "up to date, 240 images; nothing to do" in result.output
    assert not (cli.folder / "releases" / ".flat.old").exists()
    assert digests(cli.folder / "releases/flat") == digests(parts / "releases/flat")


def test_the_same_part_twice_stops_and_names_the_first(cli: Cli) -> None:
    from synthkit.builder.inputs import read_inputs
    from synthkit.builder.options import Options, Part
    from synthkit.builder.workspace import Workspace
    from synthkit.recipe.load import load

    before = Path.cwd()
    os.chdir(cli.folder)
    try:
        root = Options().work_root
        work = Workspace(root, read_inputs(load(Path("flat.yaml"), ()), root), Part(1, 2))
        with work.opened(fresh=False):
            result = cli("build", "flat.yaml", "--shards", "1/2")
            assert result.exit_code == 1
            assert f"part 1/2: process {os.getpid()} is at work on it; wait for it to end" in result.output
            assert cli("build", "flat.yaml", "--shards", "2/2").exit_code == 0
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    "command",
    [
        ("build", "--shards", "1/2"),
        ("merge",),
        ("build", "--engine", "ray"),
        ("build", "--engine", "ray", "--out", "file:///nowhere"),
    ],
)
def test_a_batch_size_to_be_measured_is_refused_where_machines_must_agree(
    cli: Cli, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no cluster here.
    monkeypatch.setattr("synthkit.builder.engines.ray_driver.check", lambda address: None)
    first, *rest = command
    result = cli(first, "flat.yaml", *rest, "--set", "sampler.batch_size=auto")
    assert result.exit_code == 1
    assert "error: sampler.batch_size: auto is measured on one machine" in result.output


def test_the_command_to_merge_is_told_whole(cli: Cli) -> None:
    result = cli("build", "flat.yaml", "--shards", "1/2", "--set", "seed=3", "--out", "x")
    assert (
        "When all parts are finished: "
        "synthkit merge flat.yaml --set seed=3 x (and the folders of other parts)" in result.output
    )


def test_a_folder_that_is_not_there_is_told_first(cli: Cli) -> None:
    assert cli("build", "flat.yaml").exit_code == 0
    told = cli("merge", "flat.yaml", "gone", "--set", "seed=3")
    assert (told.exit_code, told.output) == (1, "error: gone: there is no such folder\n")


def test_folders_that_are_not_there_or_hold_nothing(cli: Cli) -> None:
    assert "error: gone: there is no such folder" in refused(cli, "gone")
    (cli.folder / "empty").mkdir()
    assert "error: empty: has no finished shards of flat-" in refused(cli, "empty")


def test_what_another_recipe_made_is_not_replaced(cli: Cli) -> None:
    assert cli("build", "flat.yaml", "--set", "seed=1").exit_code == 0
    before = digests(cli.folder / "releases/flat")
    result = cli("merge", "flat.yaml", "one", "two", "three")
    assert result.exit_code == 1
    assert "was built from another recipe" in result.output
    assert digests(cli.folder / "releases/flat") == before
    assert cli("merge", "flat.yaml", "one", "two", "three", "--overwrite").exit_code == 0


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5"])
def test_parts_that_cannot_be(cli: Cli, part: str) -> None:
    result = cli("build", "flat.yaml", f"--shards={part}")
    assert result.exit_code == 1
    assert f"error: --shards {part}: must be like 3/16" in result.output


def test_a_part_of_a_preview_is_refused(cli: Cli) -> None:
    result = cli("build", "flat.yaml", "--shards", "1/2", "--limit", "4")
    assert result.exit_code == 1
    assert "--limit and --shards: give one of them" in result.output


def test_more_parts_than_shards(cli: Cli) -> None:
    for number in range(1, 6):
        long = ("--set", "output.shard_size=100", "--set", "name=flat")
        result = cli("build", "flat.yaml", "--shards", f"{number}/5", *long)
        assert result.exit_code == 0, result.output
    assert cli("merge", "flat.yaml", *long).exit_code == 0


def test_a_fresh_part_leaves_the_others(cli: Cli) -> None:
    for number in (1, 2):
        assert cli("build", "flat.yaml", "--shards", f"{number}/2").exit_code == 0
    result = cli("build", "flat.yaml", "--shards", "1/2", "--fresh")
    assert "120 images made now" in result.output
    assert len(finished_shards(cli.folder)) == SHARDS


def test_a_whole_build_waits_for_no_part_and_says_so(cli: Cli) -> None:
    from synthkit.release.folder import ReleaseFolder

    with ReleaseFolder(cli.folder / "releases/flat").locked(shared=True):
        assert cli("build", "flat.yaml", "--shards", "1/2").exit_code == 0
        result = cli("build", "flat.yaml")
    assert result.exit_code == 1
    assert "is at work on it; wait for it to end" in result.output


@pytest.mark.slow
def test_the_slurm_script_of_the_docs_works_as_printed(cli: Cli, parts: Path, tmp_path: Path) -> None:
    """Slurm's part is played by a loop over the array that sets the variables Slurm sets."""
    page = (ROOT / "docs/scaling.md").read_text()
    script, merging = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    array = re.search(r"#SBATCH --array=1-(\d+)", script)
    assert array
    # The stand-in for the recipe and the environment that a user has.
    for text, name in ((script, "array.sh"), (merging, "merge.sh")):
        (tmp_path / name).write_text(text)
    (tmp_path / "recipe.yaml").write_text((tmp_path / "flat.yaml").read_text())
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "synthkit").write_text('#!/bin/bash\nexec "$PYTHON" -m synthkit "$@"\n')
    (commands / "synthkit").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
    }
    count = 2
    for number in range(1, count + 1):
        slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": str(count)}
        slurm |= {"SLURM_ARRAY_TASK_MAX": str(count), "SLURM_ARRAY_TASK_MIN": "1"}
        done = subprocess.run(
            ["bash", "array.sh"],
            cwd=tmp_path,
            env=environment | slurm,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["bash", "merge.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "releases/flat") == digests(parts / "releases/flat")
