"""What commands print: whatever a name is made of, and whatever encoding the output has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from synthkit.cli import app
from synthkit.cli.output import print_json

CLASSES = ["café", "花", "plain", "😀 x"]
RECIPE = """\
name: odd
summary: "Flowers – 花"
license: cc-by-4.0
source: {kind: folder, root: photos}
prompt: "{name}"
target_per_class: 3
model: {id: "builtin:flat-colours"}
sampler: {steps: 1, batch_size: 2}
"""
ENCODINGS = ["ascii", "latin-1", "cp1252", "utf-8"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose classes, files and summary are outside of most encodings, and its release."""
    folder = tmp_path_factory.mktemp("odd")
    for label, name in enumerate(CLASSES):
        for number in range(2):
            place = folder / "photos" / name / f"größe-{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (60 * label, 99 * number, 9)).save(place)
    (folder / "odd.yaml").write_text(RECIPE, encoding="utf-8")
    assert run(folder, "ascii", "build", "odd.yaml").exit_code == 0
    return folder


def run(folder: Path, encoding: str, *arguments: str) -> Result:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return CliRunner(charset=encoding).invoke(app, list(arguments))
    finally:
        os.chdir(before)


COMMANDS: list[tuple[int, list[str]]] = [
    (0, ["plan", "odd.yaml"]),
    (0, ["show", "releases/odd"]),
    (0, ["show", "releases/odd", "000000001"]),
    (0, ["replay", "releases/odd", "000000001"]),
    (0, ["verify", "releases/odd"]),
    (0, ["diff", "releases/odd", "releases/odd"]),
    (0, ["doctor", "odd.yaml"]),
    (0, ["--help"]),
    (0, ["build", "--help"]),
    (1, ["plan", "odd.yaml", "--set", "conditioning.method=花"]),
    (1, ["plan", "odd.yaml", "--set", "source.root=photos/花"]),
    (1, ["show", "releases/花"]),
    (1, ["verify", "releases/\udcff"]),
    (2, ["plan", "odd.yaml", "--花"]),
]
AS_JSON = [
    ["plan", "odd.yaml", "--json"],
    ["show", "releases/odd", "--json"],
    ["show", "releases/odd", "000000001", "--json"],
    ["diff", "releases/odd", "releases/odd", "--json"],
    ["digest", "odd.yaml"],
    ["schema"],
]


@pytest.mark.parametrize(
    "encoding", ["ascii", *[pytest.param(name, marks=pytest.mark.slow) for name in ENCODINGS[1:]]]
)
@pytest.mark.parametrize(("code", "arguments"), COMMANDS)
def test_names_outside_of_the_outputs_encoding(
    odd: Path, encoding: str, code: int, arguments: list[str]
) -> None:
    result = run(odd, encoding, *arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.output_bytes.decode(encoding)


def test_what_the_encoding_lacks_is_escaped_and_what_it_has_is_not(odd: Path) -> None:
    assert "\\u82b1" in run(odd, "latin-1", "plan", "odd.yaml").output
    assert "café" in run(odd, "latin-1", "plan", "odd.yaml").output
    assert "花" in run(odd, "utf-8", "plan", "odd.yaml").output


@pytest.mark.parametrize("arguments", AS_JSON)
def test_json_is_json_in_any_encoding(odd: Path, arguments: list[str]) -> None:
    expected = json.loads(run(odd, "utf-8", *arguments).stdout)
    for encoding in ("ascii", "latin-1"):
        printed = run(odd, encoding, *arguments).stdout_bytes
        assert json.loads(printed) == expected


def test_json_holds_nothing_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["\x1b[2J", "\x7f", "\x9b31m", "\u202e", "\U000e0001", "\udcff", "花"]
    print_json(json.dumps(names, ensure_ascii=False))
    printed = capsys.readouterr().out
    assert json.loads(printed) == names
    assert printed.removesuffix("\n").isprintable()  # U+202E shows a name backwards
    assert "花" in printed


def test_a_file_name_that_is_no_text_in_a_report(odd: Path) -> None:
    from synthkit.cli.shared import write_report

    write_report({"path": "\udcff"}, odd / "report.json")
    assert json.loads((odd / "report.json").read_bytes()) == {"path": "\udcff"}


def test_a_process_without_a_locale(odd: Path) -> None:
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command: list[Any] = [sys.executable, "-m", "synthkit", "show", odd / "releases" / "odd"]
    ran = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert rb"Flowers \u2013 \u82b1" in ran.stdout
