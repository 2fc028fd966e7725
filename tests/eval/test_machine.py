"""Kept runs and metrics are used again only by the code that made them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from synthkit_eval import evaluate
from synthkit_eval.machine import code_digest
from synthkit_eval.sets import compare_sets


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules that fail when they are imported, and one in a folder below."""
    folder = tmp_path / "kept_by_code"
    (folder / "below").mkdir(parents=True)
    for name in ("one", "other", "below/__init__", "below/third"):
        (folder / f"{name}.py").write_text("raise RuntimeError\n")
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kept_by_code", raising=False)
    return folder


@pytest.mark.parametrize("changed", ["one", "other", "below/third"])
def test_a_package_stands_for_every_module_in_it(package: Path, changed: str) -> None:
    before, other = code_digest("kept_by_code"), code_digest("kept_by_code.one")
    assert code_digest("kept_by_code") == before
    (package / f"{changed}.py").write_text("raise RuntimeError  # another\n")
    assert code_digest("kept_by_code") != before
    assert (code_digest("kept_by_code.one") != other) is (changed == "one")
    assert "kept_by_code.one" not in sys.modules


def test_a_name_of_no_module_is_an_error(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError):
        code_digest("kept_by_code.none")


def test_the_code_of_runs_and_of_set_metrics_is_there() -> None:
    assert len({code_digest(name) for name in (*evaluate._CODE, compare_sets._CODE)}) == 3
