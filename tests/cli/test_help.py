"""Help that fits the terminal, and what shells complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from synthkit.cli import app
from synthkit.cli.completion import SCHEMAS, feature_spaces, kinds
from synthkit.recipe.families import SOURCES
from synthkit_eval.feature_names import FAMILIES, NONE
from tests.conftest import Cli
from tests.helpers.paths import ROOT

_group: Any = typer.main.get_command(app)
COMMANDS = ("", *_group.commands)


def helped(command: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def words(text: str) -> str:
    """A text as it reads, whatever its lines and frames."""
    return " ".join(text.replace("│", " ").replace("`", "").split())


def descriptions(command: str) -> list[str]:
    found: Any = _group.commands[command] if command else _group
    told = [param.help for param in found.params if getattr(param, "help", None)]
    return [*told, *(found.help or "").split("\n\n")]


@pytest.mark.parametrize(
    "columns", [60, 80, *(pytest.param(columns, marks=pytest.mark.slow) for columns in (40, 79, 120))]
)
def test_every_line_fits_and_every_description_is_whole(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for command in COMMANDS:
        text = helped(command, columns, monkeypatch)
        assert max(map(len, text.splitlines())) <= columns, (command, text)
        # From 80 columns on a table has a description in a column of its own.
        if columns < 80:
            for description in descriptions(command):
                assert words(description) in words(text), (command, description)
        else:
            for word in {word for told in descriptions(command) for word in words(told).split()}:
                assert word in text, (command, word)


def test_examples_stand_on_lines_of_their_own_where_it_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = helped("build", 60, monkeypatch).splitlines()
    assert "  synthkit build my.yaml --limit 64 (a preview)" in lines
    assert "  --limit N" in lines
    assert lines[lines.index("  --fresh") + 1] == "      Delete finished work and make everything again."


@pytest.mark.parametrize("columns", [60, 100])
def test_without_a_command_it_helps(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert "Make a release from a recipe." in CliRunner().invoke(app, []).output


GROUPS = {
    "Make": [
        "recipes",
        "init",
        "doctor",
        "plan",
        "methods",
        "train-tokens",
        "train-classifier",
        "build",
        "grow",
        "merge",
    ],
    "Trust": ["verify", "show", "page", "replay", "audit", "diff"],
    "Publish": ["release", "sign", "publish", "pull", "export", "croissant"],
    "Score": ["eval", "study", "compare"],
    "For tools": ["digest", "schema"],
}


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_commands_are_grouped_in_the_order_of_the_work(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    title = r"^(?:╭─ )?(Make|Trust|Publish|Score|For tools)(?: ─+╮|:)$"
    text = helped("", columns, monkeypatch)
    _, *parts = re.split(title, text, flags=re.MULTILINE)
    shown = {
        name: re.findall(r"^(?:│ |  )([\w-]+)(?:  .*)?$", listing, re.MULTILINE)
        for name, listing in zip(parts[::2], parts[1::2], strict=True)
    }
    assert shown == GROUPS
    assert list(shown) == list(GROUPS)
    assert set(_group.commands) == {command for commands in GROUPS.values() for command in commands}


def test_the_readme_lists_the_same_groups() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n## Commands\n") == 1
    listed: dict[str, list[str]] = {}
    for group, command in re.findall(r"^\| (?:\*\*(.+)\*\* )?\| `synthkit ([\w-]+)", text, re.MULTILINE):
        listed.setdefault(group or list(listed)[-1], []).append(command)
    assert listed == GROUPS


def completed(monkeypatch: pytest.MonkeyPatch, typed: str) -> list[str]:
    """What bash is offered for what is typed; its last word is to be completed."""
    parts = typed.split(" ")
    monkeypatch.setenv("_SYNTHKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(parts) - 1))
    return CliRunner().invoke(app, [], prog_name="synthkit").output.split()


def test_shells_complete_commands_options_and_values(
    cli: Cli, small_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cli.folder)
    for typed, offered in (
        ("synthkit bu", ["build"]),
        ("synthkit rel", ["release"]),
        ("synthkit build --w", ["--workers", "--worker-timeout"]),
        ("synthkit build --engine ", ["local", "ray"]),
        ("synthkit build --device cu", ["cuda", "cuda:0", "cuda:1"]),
        (
            "synthkit eval --protocol digits-f",
            ["digits-few-shot", "digits-few-shot-discl", "digits-few-shot-randaugment"],
        ),
        ("synthkit eval --features b", ["builtin:tiny-unclip-digits"]),
        ("synthkit compare --format m", ["markdown"]),
        ("synthkit schema s", ["score"]),
        ("synthkit init x --from voc_sd", ["voc_sd15", "voc_sdxl_lightning"]),
        ("synthkit init x --kind f", ["folder", "flowers102"]),
        ("synthkit build ", []),
        ("synthkit release ", []),
    ):
        assert completed(monkeypatch, typed) == offered, typed
    monkeypatch.chdir(ROOT)
    assert "recipes/digits_lt_ecd.yaml" in completed(monkeypatch, "synthkit build recipes/digits")
    assert "recipes/digits_lt_ecd.yaml" in completed(monkeypatch, "synthkit plan rec")
    assert completed(monkeypatch, "synthkit release ") == ["digits-lt-augcond"]
    monkeypatch.chdir(small_release.parents[1])
    for command in ("verify", "audit", "show", "replay", "eval", "publish"):
        assert completed(monkeypatch, f"synthkit {command} ") == ["releases/small"]
    folder = small_release.parent
    assert completed(monkeypatch, f"synthkit diff {small_release} {folder}/s") == [str(small_release)]
    assert completed(monkeypatch, "synthkit verify /nowhere/x") == []


def test_what_is_offered_is_what_there_is() -> None:
    assert set(kinds("")) == set(SOURCES)
    assert {name.partition(":")[0] for name in feature_spaces("")} == {NONE, *FAMILIES}
    assert feature_spaces("t") == ["timm:"]
    for what in SCHEMAS:
        assert CliRunner().invoke(app, ["schema", what]).exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(tmp_path: Path, shell: str) -> None:
    command = [Path(sys.executable).parent / "synthkit"]
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "eval")]),
        # Not the shell that the tests run in.
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    for option in ("--show-completion", "--install-completion"):
        ran = subprocess.run(
            [*command, option, shell], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert "complet" in ran.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
