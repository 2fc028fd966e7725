"""`synthkit diff`: what changed between two releases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit.release.files import table_path
from tests.conftest import Cli
from tests.helpers.commands import error_of, output_of, run_build
from tests.helpers.forging import reseal

QUICK = ("--set", "sampler.steps=1", "--set", "sampler.batch_size=4")


@pytest.fixture
def copy(small_release: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_release, tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A release of ten images, and the same with one thing changed."""
    cli = Cli(tmp_path_factory.mktemp("versions"))
    changes = {
        "base": (),
        "guided": ("sampler.guidance_scale=3.0",),
        "larger": ("target_per_class=5",),
        "reworded": ("summary=Now with a summary.", "version=1.2.4"),
    }
    small = ("target_per_class=4", "source.max_per_class=3", "source.imbalance_factor=1")
    for name, settings in changes.items():
        flags = [word for setting in (*small, *settings) for word in ("--set", setting)]
        run_build(cli, cli.recipe("summary: ''"), *QUICK, *flags, "--out", name)
    return {name: cli.folder / name / "small" for name in changes}


def difference(cli: Cli, old: Path, new: Path) -> tuple[str, Any]:
    return output_of(cli, "diff", old, new), json.loads(output_of(cli, "diff", old, new, "--json"))


def test_a_release_and_itself_do_not_differ(cli: Cli, small_release: Path) -> None:
    text, found = difference(cli, small_release, small_release)
    assert text == (
        "small 1.2.3 -> small 1.2.3\n"
        "  images: 76 the same, 0 moved, 0 changed, 0 added, 0 removed (of 76 before)\n"
    )
    assert found == {
        "versions": ["small 1.2.3", "small 1.2.3"],
        "recipe": {},
        "environment": [],
        "classes": {},
        "same": 76,
        "added": [],
        "removed": [],
        "moved": [],
        "changed": [],
        "changed_fields": {},
        "blocks": [1, 1],
        "grown": False,
    }


@pytest.mark.slow
def test_another_guidance_changes_every_image(cli: Cli, versions: dict[str, Path]) -> None:
    text, found = difference(cli, versions["base"], versions["guided"])
    assert found["recipe"] == {"sampler.guidance_scale": [2.0, 3.0]}
    assert found["changed"] == [f"{key:09d}" for key in range(10)]
    assert found["changed_fields"] == {"guidance_scale": 10, "generation_digest": 10}
    assert (found["same"], found["added"], found["removed"], found["classes"]) == (0, [], [], {})
    assert "  recipe sampler.guidance_scale: 2.0 -> 3.0\n" in text
    assert "  images: 0 the same, 0 moved, 10 changed, 0 added, 0 removed (of 10 before)\n" in text
    assert "    changed: 000000000, 000000001, " in text
    assert text.endswith("    changed in: guidance_scale (10), generation_digest (10)\n")


@pytest.mark.slow
def test_a_higher_target_adds_images_to_every_class(cli: Cli, versions: dict[str, Path]) -> None:
    text, found = difference(cli, versions["base"], versions["larger"])
    assert found["recipe"] == {"target_per_class": [4, 5]}
    assert found["classes"]["zero"] == [1, 2]
    assert found["classes"]["nine"] == [1, 2]
    assert len(found["classes"]) == 10
    # The ten of before stand elsewhere, for the order is shuffled, but are the same but for their keys.
    assert len(found["added"]) == 10
    assert found["same"] + len(found["moved"]) == 10
    assert len({*found["added"], *found["moved"]}) == 20 - found["same"]
    assert found["changed"] == []
    assert "  class nine: 1 -> 2 images\n" in text
    assert "10 added, 0 removed (of 10 before)\n" in text
    back, found = difference(cli, versions["larger"], versions["base"])
    assert len(found["removed"]) == 10
    assert "0 added, 10 removed (of 20 before)\n" in back


@pytest.mark.slow
def test_new_words_change_no_image(cli: Cli, versions: dict[str, Path]) -> None:
    text, found = difference(cli, versions["base"], versions["reworded"])
    assert text == (
        "small 1.2.3 -> small 1.2.4\n"
        "  recipe summary: nothing -> Now with a summary.\n"
        "  recipe version: 1.2.3 -> 1.2.4\n"
        "  images: 10 the same, 0 moved, 0 changed, 0 added, 0 removed (of 10 before)\n"
    )
    assert found["same"] == 10


def test_what_it_was_made_with_is_compared(cli: Cli, copy: Path, small_release: Path) -> None:
    manifest = json.loads((small_release / "manifest.json").read_text())
    manifest["environment"]["torch"] = "1.0"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    text, found = difference(cli, copy, small_release)
    now = json.loads((small_release / "manifest.json").read_text())["environment"]["torch"]
    assert f"  made with torch 1.0 -> {now}\n" in text
    assert found["environment"] == [f"torch 1.0 -> {now}"]


def parquet_becomes(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(release: Path) -> None:
        pq.write_table(change(pq.read_table(release / table_path(0))), release / table_path(0))
        reseal(release, table_path(0))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda release: (release / table_path(0)).unlink(),
        lambda release: (release / table_path(0)).write_bytes(b"no Parquet"),
        parquet_becomes(lambda table: table.drop_columns(["key"])),
        parquet_becomes(lambda table: table.drop_columns(["image_sha256"])),
        parquet_becomes(lambda table: pa.concat_tables([table, table])),
    ],
)
def test_a_damaged_record_of_images_is_told_in_a_line(
    cli: Cli, copy: Path, small_release: Path, damage: Callable[[Path], Any]
) -> None:
    damage(copy)
    assert f"{copy / table_path(0)}: cannot be read: " in error_of(cli, "diff", small_release, copy)
    assert f"{copy / table_path(0)}: cannot be read: " in error_of(cli, "diff", copy, small_release)


def test_what_is_no_release_cannot_be_compared(cli: Cli, small_release: Path) -> None:
    assert "is not a release: it has no manifest.json" in error_of(cli, "diff", small_release, cli.folder)
