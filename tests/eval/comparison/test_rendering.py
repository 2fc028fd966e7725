"""The forms of a table: nothing in a name breaks one, and a narrow terminal shows it all."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from synthkit_eval.comparison.differences import compare_scores
from synthkit_eval.comparison.find import find_scores
from synthkit_eval.comparison.pages import pages
from synthkit_eval.comparison.rendering import as_rich
from tests.conftest import Cli
from tests.helpers.scores import ECD, RANDOM, REAL, put, score

ODD = 'a|b\nc, "d" <b>`_*$x$ \x1b[31m名'


def test_odd_names_break_no_form(cli: Cli) -> None:
    put(cli.folder / "s", "a", score(ECD, method="mixup", name=ODD, fid=2.0))
    put(cli.folder / "s", "b", score(RANDOM, method="mixup", name="plain", fid=3.0))
    put(cli.folder / "s", "c", score(REAL))
    for form in ("terminal", "markdown"):
        lines = cli("compare", "s", "--format", form).stdout.splitlines()
        assert len([one for one in lines if one.startswith(("a|b", r"| a\|b")) and "名" in one]) == 2
        assert not any("\x1b" in one for one in lines)
    cells = [one for one in lines if one.startswith("|")]
    assert {len(re.split(r"(?<!\\)\|", one)) for one in cells[:5]} == {11}
    assert r"a\|b\\nc, " in cells[2] + cells[3]
    assert r"\<b\>\`\_\*\$x\$" in cells[2] + cells[3]
    written = cli.folder / "out.csv"
    assert cli("compare", "s", "--out", written, "--plots", "p").exit_code == 0
    with written.open(encoding="utf-8", newline="") as stream:
        assert ODD in [one["name"] for one in csv.DictReader(stream)]


def test_a_narrow_terminal_shows_the_rest_below(
    cli: Cli, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cli.folder)
    found = pages(compare_scores(find_scores(["scores"]).files, []))
    stream = io.StringIO()
    Console(file=stream, width=60, highlight=False).print(as_rich(found, 60))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 60
    # Every name stands once in each part of the accuracies, and twice in each of the differences.
    counts = [sum(one.startswith(name) for one in lines) for name in ("real only", "digits-lt-ecd")]
    assert counts[0] == 3
    assert counts[1] >= 3 + 2 * 2
