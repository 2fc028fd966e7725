"""`synthkit compare`: where it writes, its mistakes in one line, its help."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli


def test_out_takes_its_form_from_the_name(cli: Cli, scores: Path) -> None:
    for name, start in (
        ("a.md", "### digits-lt version 1"),
        ("a.CSV", "section,name"),
        ("a.txt", "digits-lt ver"),
    ):
        result = cli("compare", "scores", "--out", f"deep/{name}")
        assert result.stdout == f"deep/{name}: 4 score(s) in 1 section(s)\n"
        assert (cli.folder / "deep" / name).read_text().startswith(start)
    cli("compare", "scores", "--out", "a.md", "--format", "csv")
    assert (cli.folder / "a.md").read_text().startswith("section,name")
    assert cli("compare", "scores", "--format", "csv").stdout == (cli.folder / "a.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["scores/mixup.json"],
            "scores/mixup.json: there is no such score file; did you mean scores/digits-lt-mixup.json?",
        ),
        (["nowhere/x.json"], "nowhere/x.json: there is no such score file; `synthkit eval` makes one"),
        (["empty"], "empty: holds no scores; `synthkit eval` writes them into scores"),
        (["scores", "--out", "table.html"], "table.html: end its name in .md, .csv, .txt, or give --format"),
        (["scores", "--plots", "file"], "file: is not a folder; choose another --out"),
    ],
)
def test_other_mistakes_are_one_line(cli: Cli, scores: Path, arguments: list[str], message: str) -> None:
    (cli.folder / "empty").mkdir()
    (cli.folder / "file").write_text("")
    result = cli("compare", *arguments)
    assert result.exit_code == 1
    assert result.stderr == f"error: {message}\n"


def test_help_has_an_example(cli: Cli) -> None:
    text = cli("compare", "--help").output
    assert "Examples" in text
    assert "synthkit compare scores" in text
