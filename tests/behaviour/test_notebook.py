"""The notebook runs from its first cell to its last, and what it shows is what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.helpers.paths import ROOT

NOTEBOOK = ROOT / "docs/notebooks/digits.ipynb"
# Fewer images, one training run of one epoch.
QUICK = "images_per_class, seeds, epochs = 60, 1, 1"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_small_and_tells_nothing_of_a_machine(notebook: Any) -> None:
    nbformat.validate(notebook)
    text = NOTEBOOK.read_text()
    assert len(text) < 100_000
    assert not re.search(r"/(home|root|tmp|Users|work)/", text)
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names = re.findall(r"^(\w+) =", settings.source, re.MULTILINE)
    assert ", ".join(names) == QUICK.partition(" =")[0]


@pytest.mark.slow
def test_every_cell_runs(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'eval'}")
    (settings,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    settings.source = QUICK
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    shown = "\n".join(
        output.get("text") or output.data.get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    )
    assert "376 images in 3 shard(s)" in shown
    assert "\x1b" not in shown
    assert "generating: 376 of 376 images" in shown
    assert "made=376" in shown
    assert "image      000000003 of digits-lt-notebook 0.1.0" in shown
    assert "digits-lt-notebook, trained on real and synthetic images by digits-lt" in shown
    assert "real only" in shown
    assert "Exported(path=PosixPath('digits-imagefolder')" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".synthkit", "digits-imagefolder", "releases", "scores"),
    ]
