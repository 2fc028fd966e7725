"""What an installed wheel can do without a clone: the commands of the README, from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

SCRIPT = """\
import json, sys, synthkit
from synthkit.cli import app
assert synthkit.__file__.startswith(sys.argv[1]), synthkit.__file__
for command in json.loads(sys.argv[2]):
    try:
        app(command)
    except SystemExit as end:
        assert end.code in (0, None), command
"""


def run(installed: Path, folder: Path, *commands: str) -> str:
    """What commands print, one after the other, in a process that finds the installed package."""
    folder.mkdir(exist_ok=True)
    words = json.dumps([command.split()[1:] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(installed), words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_holds_recipes_and_types_and_they_are_found(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel")
    installed = tmp_path / "installed"
    for file in builders.WheelBuilder(str(ROOT)).recurse_included_files():
        place = installed / file.distribution_path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.path, place)
    for path in (ROOT / "recipes").iterdir():
        assert (installed / "synthkit/recipes" / path.name).read_bytes() == path.read_bytes()
    for path in (ROOT / "eval/protocols").iterdir():
        assert (installed / "synthkit_eval/protocols" / path.name).is_file()
    for package in ("synthkit", "synthkit_eval"):
        assert (installed / package / "py.typed").is_file(), "type checkers would take our types for unknown"
    told = run(
        installed,
        tmp_path / "empty",
        "synthkit recipes",
        "synthkit init digits-demo --from digits_lt_ecd",
        "synthkit init mine --kind digits",
        "synthkit plan digits-demo.yaml",
    )
    assert "\ndigits_lt_ecd " in told, "the list of recipes"
    assert "776 images in 7 shard(s)" in told
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {
        *("digits-demo.yaml", "mine.yaml", "recipe.schema.json"),
    }


@pytest.mark.slow
def test_a_newcomer_needs_the_wheel_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-q", "-w", str(tmp_path)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("synthkit-*.whl")
    installed, folder = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    score = "--protocol digits-lt --seeds 1 --set epochs=1"
    told = run(
        installed,
        folder,
        "synthkit --help",
        "synthkit recipes",
        "synthkit init digits-demo --from digits_lt_ecd",
        "synthkit doctor digits-demo.yaml",
        "synthkit build digits-demo.yaml",
        "synthkit verify releases/digits-demo",
        "synthkit show releases/digits-demo 3",
        "synthkit replay releases/digits-demo 3",
        f"synthkit eval releases/digits-demo {score}",
        f"synthkit eval releases/digits-demo {score} --real-only",
        "synthkit compare digits-demo --plots plots",
        "synthkit init other --from digits_lt_ecd_filtered",
        "synthkit plan other.yaml",
    )
    assert "synthkit init digits-demo --from digits_lt_ecd" in told.split("Usage")[1]
    assert "digits-demo 1.0.0 is intact: 776 images" in told
    assert "000000003: identical" in told
    assert "real only" in told.split("Score: ")[2]
    assert (folder / "plots/groups.png").is_file()
