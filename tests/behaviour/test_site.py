"""The documentation's site: its reference has every command and field, and its links lead to pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import synthkit
from synthkit.cli import app
from synthkit.recipe.schema import Recipe
from synthkit_eval.protocol import Protocol
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def site() -> Any:
    sys.path.insert(0, str(ROOT / "docs/site"))
    import pages
    import reference

    yield pages, reference
    sys.path.remove(str(ROOT / "docs/site"))


def test_the_reference_has_every_command_and_every_field(site: Any, tmp_path: Path) -> None:
    site[1].write_reference(tmp_path)
    commands = (tmp_path / "commands.md").read_text()
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"## `synthkit {name}`" in commands
    python = (tmp_path / "python.md").read_text()
    for name in set(synthkit.__all__) - {"__version__"}:
        assert f"## synthkit.{name}\n" in python
    assert "### Release.to_pandas\n" in python
    for model in (Recipe, Protocol):
        text = (tmp_path / f"{model.__name__.lower()}.md").read_text()
        for name in model.model_fields:
            assert f"| `{name}` |" in text
    recipe = (tmp_path / "recipe.md").read_text()
    assert "## sampler.cache\n" in recipe
    assert "[kind digits](#source-kind-digits)" in recipe
    assert "| `strength` |" in recipe


def test_pages_keep_their_places_and_what_they_link_to_is_there(site: Any, tmp_path: Path) -> None:
    site[0].gather(ROOT, tmp_path)
    first = (tmp_path / "index.md").read_text()
    assert "](docs/images/samples.png)" in first
    assert (tmp_path / "docs/images/samples.png").is_file()
    # A recipe is a page with its text; a folder one that lists its files.
    assert "](recipes/imagenet_lt_ecd.yaml.md)" in first
    assert (ROOT / "recipes/imagenet_lt_ecd.yaml").read_text() in (
        tmp_path / "recipes/imagenet_lt_ecd.yaml.md"
    ).read_text()
    assert "[digits-lt.yaml](digits-lt.yaml.md)" in (tmp_path / "eval/protocols/index.md").read_text()
    notebook = (tmp_path / "docs/notebooks/digits.ipynb.md").read_text()
    assert notebook.startswith("# Digits, from a recipe to a score\n")
    assert "```python\nbuilt = synthkit.build(recipe)" in notebook
    # A code block that shows a link is text.
    assert "](../bench/index.md#" in (tmp_path / "docs/scaling.md").read_text()
