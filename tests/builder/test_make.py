"""Builds: what they leave, that they can be killed anywhere, and that the bytes are always the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Cli, digests
from tests.helpers.paths import ROOT
from tests.helpers.warm import Warm, WarmProcess


def wait_for(condition: object, process: WarmProcess, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished_shards(cli: Cli) -> int:
    return len(list(cli.folder.glob(".synthkit/*/shards/*.json")))


# Images so large that a shard takes about a second and a kill lands inside one.
SLOW = ("--set", "output.size=640")
REAL_MODEL = ("--set", "model.id=builtin:tiny-unclip-digits")


class FlatCli(Cli):
    """The small recipe without a model: nothing here depends on what the images show."""

    def recipe(self, *changes: str, name: str = "recipe.yaml") -> Path:
        path = super().recipe(*changes, name=name)
        path.write_text(path.read_text().replace("builtin:tiny-unclip-digits", "builtin:flat-colours"))
        return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return FlatCli(tmp_path)


@pytest.fixture
def built(cli: Cli, flat_release: Path) -> Path:
    """The recipe in a folder where it has been built."""
    shutil.copytree(flat_release.parents[1], cli.folder, dirs_exist_ok=True)
    return cli.recipe()


@pytest.fixture(scope="module")
def slow_release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    cli = FlatCli(tmp_path_factory.mktemp("slow"))
    assert cli("build", cli.recipe(), *SLOW).exit_code == 0
    return digests(cli.folder / "releases" / "small")


@pytest.mark.slow
def test_three_kills_change_no_byte(cli: Cli, warm: Warm, slow_release: dict[str, str]) -> None:
    cli.recipe()
    for shards_before_the_kill in (0, 1, 2):
        process = warm.start("build", "recipe.yaml", *SLOW, cwd=cli.folder)
        wait_for(
            lambda: (
                finished_shards(cli) >= shards_before_the_kill  # noqa: B023
                and list(cli.folder.glob(".synthkit/*/shards/.*.tar.*.tmp"))
            ),
            process,
        )
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (cli.folder / "releases" / "small").exists()
    result = cli("build", "recipe.yaml", *SLOW)
    assert result.exit_code == 0
    assert digests(cli.folder / "releases" / "small") == slow_release


def test_ctrl_c_exits_130_and_the_same_command_goes_on(
    cli: Cli, warm: Warm, slow_release: dict[str, str]
) -> None:
    cli.recipe()
    process = warm.start("build", "recipe.yaml", *SLOW, cwd=cli.folder)
    wait_for(lambda: finished_shards(cli) >= 1, process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what is finished is kept, and the same command goes on" in error
    assert "Traceback" not in error
    result = cli("build", "recipe.yaml", *SLOW)
    made_now = int(result.output.split(" of them made now")[0].split()[-1])
    assert 0 < made_now < 76
    assert digests(cli.folder / "releases" / "small") == slow_release


def test_a_second_build_at_the_same_time_stops_and_names_the_first(cli: Cli, warm: Warm) -> None:
    cli.recipe()
    process = warm.start("build", "recipe.yaml", *SLOW, cwd=cli.folder)
    wait_for(lambda: list(cli.folder.glob(".synthkit/*/shards")), process)
    # The same folder, however it is spelt.
    second = cli("build", "recipe.yaml", *SLOW, "--out", "releases")
    assert second.exit_code == 1
    assert (
        f"error: releases/small: process {process.pid} is at work on it; wait for it to end" in second.output
    )
    _, error = process.communicate(timeout=90)
    assert process.returncode == 0, error
    assert cli("verify", "releases/small").exit_code == 0


def test_in_another_folder_and_fresh_the_bytes_are_the_same(cli: Cli, flat_release: Path) -> None:
    recipe = cli.recipe()
    assert cli("build", recipe, "--out", cli.folder / "elsewhere").exit_code == 0
    assert digests(cli.folder / "elsewhere" / "small") == digests(flat_release)
    again = cli("build", recipe, "--out", cli.folder / "elsewhere", "--fresh")
    assert "76 of them made now" in again.output
    assert digests(cli.folder / "elsewhere" / "small") == digests(flat_release)
    assert not (cli.folder / "releases").exists()
    assert not (cli.folder / ".synthkit").exists()


def test_the_releases_own_recipe_rebuilds_it(cli: Cli, flat_release: Path) -> None:
    assert cli("build", flat_release / "recipe.yaml").exit_code == 0
    assert digests(cli.folder / "releases" / "small") == digests(flat_release)


def test_an_unchanged_rebuild_does_nothing_quickly(cli: Cli, built: Path) -> None:
    release = cli.folder / "releases" / "small"
    before = {path: path.stat().st_mtime_ns for path in release.rglob("*")}
    started = time.monotonic()
    result = cli("build", built)
    assert time.monotonic() - started < 3
    assert result.exit_code == 0
    assert "releases/small: up to date, 76 images; nothing to do" in result.output
    assert {path: path.stat().st_mtime_ns for path in release.rglob("*")} == before


def test_new_words_rewrite_the_card_and_generate_nothing(cli: Cli, built: Path) -> None:
    shards = digests(cli.folder / "releases" / "small" / "data")
    result = cli("build", built, "--set", "summary=New words.", "--set", "version=1.2.4")
    assert result.exit_code == 0
    assert "0 of them made now" in result.output
    release = cli.folder / "releases" / "small"
    assert "New words." in (release / "README.md").read_text()
    assert digests(release / "data") == shards
    assert cli("verify", release).exit_code == 0


def test_a_lost_release_folder_comes_back_without_generating(
    cli: Cli, flat_release: Path, built: Path
) -> None:
    shutil.rmtree(cli.folder / "releases")
    assert "0 of them made now" in cli("build", built).output
    assert digests(cli.folder / "releases" / "small") == digests(flat_release)


def test_a_preview_is_marked_and_its_images_are_the_releases(cli: Cli, flat_release: Path) -> None:
    result = cli("build", cli.recipe(), "--limit", "10")
    assert result.exit_code == 0
    assert "This is a preview: 10 of 76 images;" in result.output
    preview = cli.folder / "releases" / "small-preview"
    assert not (cli.folder / "releases" / "small").exists()
    assert json.loads((preview / "manifest.json").read_text())["partial"] == {"of": 76}
    card = (preview / "README.md").read_text()
    assert "**Preview, not a release.** The first 10 of 76 images." in card
    assert "(a preview of 76)" in cli("verify", preview).output

    def hashes(release: Path) -> list[str]:
        import pyarrow.parquet as pq

        column: list[str] = pq.read_table(release / "provenance/train-00000.parquet")[
            "image_sha256"
        ].to_pylist()
        return column

    assert hashes(preview) == hashes(flat_release)[:10]
    assert cli("build", cli.recipe(), "--limit", "3").exit_code == 0


def test_a_limit_beyond_the_end_is_the_whole_set_but_stays_a_preview(cli: Cli, flat_release: Path) -> None:
    assert cli("build", cli.recipe(), "--limit", "1000").exit_code == 0
    preview = cli.folder / "releases" / "small-preview"
    assert digests(preview / "data") == digests(flat_release / "data")
    assert json.loads((preview / "manifest.json").read_text())["partial"] == {"of": 76}
    assert 'load_dataset("releases/small-preview", split' in (preview / "README.md").read_text()
    assert cli("build", cli.recipe(), "--limit", "5", "--set", "seed=9").exit_code == 0


def test_another_recipes_release_is_not_touched(cli: Cli, built: Path) -> None:
    before = digests(cli.folder / "releases" / "small")
    other = cli("build", built, "--set", "seed=8")
    assert other.exit_code == 1
    assert "releases/small: was built from another recipe" in other.output
    assert "--overwrite" in other.output
    assert digests(cli.folder / "releases" / "small") == before
    assert cli("build", built, "--set", "seed=8", "--overwrite").exit_code == 0
    assert digests(cli.folder / "releases" / "small") != before


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (None, "releases/small: is not a release: it has no manifest.json; move it away"),
        ('{"made_by": "another tool"}', "releases/small/manifest.json: is not a manifest"),
    ],
)
def test_a_folder_that_is_no_release_is_not_touched(cli: Cli, manifest: str | None, told: str) -> None:
    thesis = cli.folder / "releases" / "small" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    if manifest:
        (thesis.parent / "manifest.json").write_text(manifest)
    result = cli("build", cli.recipe())
    assert result.exit_code == 1
    assert told in result.output
    assert thesis.read_text() == "years of work"


def test_files_of_others_in_a_release_are_not_lost(cli: Cli, built: Path) -> None:
    config = cli.folder / "releases" / "small" / ".git" / "config"
    config.parent.mkdir()
    config.write_text("history")
    result = cli("build", built, "--set", "summary=New words.")
    assert result.exit_code == 1
    assert "releases/small: holds files that are not the release's (.git/config)" in result.output
    assert config.read_text() == "history"


def test_a_link_in_the_releases_place_is_not_followed(cli: Cli) -> None:
    (cli.folder / "elsewhere").mkdir()
    (cli.folder / "releases").mkdir()
    (cli.folder / "releases" / "small").symlink_to(cli.folder / "elsewhere")
    result = cli("build", cli.recipe())
    assert result.exit_code == 1
    assert "releases/small: is not a folder; move it away" in result.output


@pytest.mark.parametrize("damage", ["", "half"])
def test_a_shard_whose_records_are_damaged_is_not_finished(
    cli: Cli, damage: str, flat_release: Path, built: Path
) -> None:
    shutil.rmtree(cli.folder / "releases")
    next((cli.folder / ".synthkit").glob("*/shards/train-00001*.records")).write_text(damage)
    assert "24 of them made now" in cli("build", built).output
    assert digests(cli.folder / "releases" / "small") == digests(flat_release)


def test_a_shard_that_was_altered_is_made_again_not_published(cli: Cli, flat_release: Path) -> None:
    """The work folder's shard and the release's are one file: what changes one changes both."""
    recipe = cli.recipe()
    cli("build", recipe)
    release = cli.folder / "releases" / "small"
    with (release / "data" / "train-00001.tar").open("r+b") as tar:
        tar.seek(700)
        tar.write(b"XX")
    assert cli("verify", release).exit_code == 1
    assert "24 of them made now" in cli("build", recipe, "--set", "summary=Again.").output
    assert cli("verify", release).exit_code == 0
    assert digests(release / "data") == digests(flat_release / "data")


def test_a_shard_whose_sidecar_is_damaged_is_made_again(cli: Cli, flat_release: Path, built: Path) -> None:
    next((cli.folder / ".synthkit").glob("*/shards/train-00001*.json")).write_text("junk")
    assert "24 of them made now" in cli("build", built, "--set", "summary=Again.").output
    assert digests(cli.folder / "releases/small/data") == digests(flat_release / "data")


@pytest.mark.parametrize("seconds", [1.0, pytest.param(3.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_can_be_stopped_while_libraries_load(
    cli: Cli, seconds: float, number: int, code: int
) -> None:
    cli.recipe()
    command = [sys.executable, "-m", "synthkit", "build", "recipe.yaml", *REAL_MODEL]
    command += ["--set", "sampler.steps=400"]
    process = subprocess.Popen(command, cwd=cli.folder, stderr=subprocess.PIPE, text=True)
    time.sleep(seconds)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == code, error
    assert "Traceback" not in error
    assert "stopped; what is finished is kept" in error


@pytest.mark.slow
def test_the_locale_changes_no_byte(cli: Cli, flat_release: Path) -> None:
    cli.recipe()
    latin = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "synthkit", "build", "recipe.yaml"],
        cwd=cli.folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **latin, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert digests(cli.folder / "releases" / "small") == digests(flat_release)


def test_what_a_kill_leaves_is_removed(cli: Cli, flat_release: Path, built: Path) -> None:
    work = next((cli.folder / ".synthkit").glob("small-*"))
    first = sorted((work / "shards").glob("*.tar"))[0]
    first.with_suffix(".json").unlink()
    (work / "shards" / ".train-00000.tar.tmp").write_bytes(b"half")
    kept = next((work.parent / "embeddings").glob("*.npy"))
    kept.write_bytes(b"half")
    (kept.parent / f".{kept.name}.tmp").write_bytes(b"half")
    draft = work / "shards" / "train-00001.draft"
    draft.write_bytes(b"of a shard that is finished")
    shutil.rmtree(cli.folder / "releases")
    result = cli("build", built)
    assert "24 of them made now" in result.output
    assert not list(work.parent.rglob(".*.tmp"))
    assert not draft.exists()
    assert digests(cli.folder / "releases" / "small") == digests(flat_release)


def test_a_replacement_cut_off_between_its_renames_is_undone(cli: Cli, built: Path) -> None:
    release = cli.folder / "releases" / "small"
    before = digests(release)
    old = release.with_name(".small.old")
    release.rename(old)
    assert "nothing to do" in cli("build", built).output
    assert digests(release) == before
    # Cut off later, while the old one was being removed: it must never come back.
    old.mkdir()
    (old / "half").write_text("gone")
    assert "nothing to do" in cli("build", built).output
    assert not old.exists()
    assert digests(release) == before


def test_another_environment_is_not_mixed_in(cli: Cli, built: Path) -> None:
    import importlib.metadata

    torch_version = importlib.metadata.version("torch")

    shutil.rmtree(cli.folder / "releases")
    for path in (cli.folder / ".synthkit").glob("*/shards/*.json"):
        path.write_text(path.read_text().replace(f'"torch":"{torch_version}"', '"torch":"1.0.0"'))
    # With every shard finished nothing is mixed, and the release says where they were made.
    assert cli("build", built).exit_code == 0
    made_in = json.loads((cli.folder / "releases/small/manifest.json").read_text())["environment"]
    assert made_in["torch"] == "1.0.0"
    shutil.rmtree(cli.folder / "releases")
    next((cli.folder / ".synthkit").glob("*/shards/train-00002*.json")).unlink()
    result = cli("build", built)
    assert result.exit_code == 1
    assert "was begun in another environment (torch 1.0.0 -> " in result.output
    assert cli("build", built, "--fresh").exit_code == 0


@pytest.mark.parametrize(
    "method",
    ["random-image", "dropout", "mixup", "cutmix-dropout", "embed-mixup", "embed-mixup-dropout", "text-only"],
)
def test_every_kind_of_method_builds_and_records_what_it_did(cli: Cli, method: str) -> None:
    recipe = cli.recipe("target_per_class: 9")
    result = cli("build", recipe, "--set", f"conditioning.method={method}", "--set", "sampler.steps=2")
    assert result.exit_code == 0, result.output
    import pyarrow.parquet as pq

    rows = pq.read_table(cli.folder / "releases/small/provenance/train-00000.parquet").to_pylist()
    mixes, pixels = "mix" in method, method.startswith(("mixup", "cutmix"))
    for row in rows:
        assert row["method"] == method
        assert len(row["sources"]) == (0 if method == "text-only" else 2 if mixes else 1)
        assert (row["lam"] == 1.0) is not mixes
        assert len(row["crops"]) == (2 if pixels else 0)
        assert len(row["region"]) == (4 if method.startswith("cutmix") else 0)
        assert row["dropout"] == (0.4 if method.endswith("dropout") else 0.0)
    assert cli("verify", "releases/small").exit_code == 0


@pytest.mark.parametrize(
    ("image_format", "extension", "kind"), [("jpeg", "jpg", "JPEG"), ("webp", "webp", "WEBP")]
)
def test_other_formats_and_sizes(cli: Cli, image_format: str, extension: str, kind: str) -> None:
    import io
    import tarfile

    from PIL import Image

    recipe = cli.recipe("target_per_class: 9")
    changes = (f"output.format={image_format}", "output.size=48", "output.quality=80")
    settings = [word for change in changes for word in ("--set", change)]
    assert cli("build", recipe, *settings).exit_code == 0
    with tarfile.open(cli.folder / "releases/small/data/train-00000.tar") as tar:
        image = Image.open(io.BytesIO(tar.extractfile(f"000000000.{extension}").read()))  # type: ignore[union-attr]
    assert (image.format, image.size) == (kind, (48, 48))
    assert cli("verify", "releases/small").exit_code == 0
