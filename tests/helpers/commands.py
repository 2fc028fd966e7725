"""Commands that must succeed, and commands that must fail in one line."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Cli


def run_build(cli: Cli, *arguments: str | Path) -> None:
    """Run `synthkit build`, which must succeed."""
    output_of(cli, "build", *arguments)


def output_of(cli: Cli, *arguments: str | Path) -> str:
    """Return what a command prints; it must succeed."""
    result = cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def error_of(cli: Cli, *arguments: str | Path) -> str:
    """Return the one line that a command prints; it must fail and make no file."""
    before = set(cli.folder.rglob("*"))
    result = cli(*arguments)
    assert result.exit_code == 1, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
    assert set(cli.folder.rglob("*")) == before
    return line
