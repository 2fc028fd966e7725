"""The documentation says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from synthkit.conditioning import METHODS
from synthkit.recipe.families import SOURCES
from synthkit.recipe.load import load
from synthkit.recipe.schema import Recipe
from synthkit.release.records import Provenance5, Provenance7, Provenance8
from synthkit.version import __version__
from synthkit_eval.protocol import Protocol
from tests.helpers.paths import ROOT

PAGES = sorted(
    [
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md")
        ),
        *(ROOT / "docs").glob("*.md"),
    ]
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/recipes.md"], ids=lambda page: page.name)
def test_every_recipe_shown_is_valid(page: Path, tmp_path: Path) -> None:
    shown = blocks(page, "yaml")
    assert shown
    for number, text in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text.replace("extends: ", f"extends: {ROOT}/recipes/"))
        load(path)


def fields(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= fields(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_every_field_of_a_recipe_is_in_the_docs() -> None:
    text = (ROOT / "docs/recipes.md").read_text()
    for path in fields(Recipe):
        assert f"`{path}`" in text, path
    for model in SOURCES.values():
        for name in model.model_fields:
            assert name in text, name


def test_every_field_of_a_record_is_in_the_docs() -> None:
    text = (ROOT / "docs/provenance.md").read_text()
    for name in {
        field for kind in (Provenance5, Provenance7, Provenance8) for field in kind.__struct_fields__
    }:
        assert f"`{name}`" in text, name


def test_every_recipe_is_in_the_docs() -> None:
    text = (ROOT / "docs/recipes.md").read_text()
    for path in (ROOT / "recipes").glob("*.yaml"):
        assert f"\n| `{path.stem}` |" in text, path.stem


def test_every_method_is_in_the_docs() -> None:
    text = (ROOT / "docs/method.md").read_text()
    for name in METHODS:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def anchors(page: Path) -> list[str]:
    """The anchors that GitHub gives to a page's headings."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_heading_stands_once_on_a_page(page: Path) -> None:
    assert len(anchors(page)) == len(set(anchors(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text()):
        assert anchor in anchors(page.parent / target if target else page), (target, anchor)


def test_tests_that_pages_name_exist() -> None:
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        named = set(re.findall(r"\btest_\w+\.py", page.read_text()))
        assert named <= there, (page, named - there)


def test_no_page_has_a_gap_and_every_bench_is_listed() -> None:
    for page in PAGES:
        assert "@@" not in page.read_text(), page
    listed = (ROOT / "bench/README.md").read_text()
    for path in (ROOT / "bench").glob("*.py"):
        assert path.name in listed or path.name.startswith(("gpu_", "unclip_")), path.name


def test_every_key_of_a_protocol_is_in_the_docs() -> None:
    text = (ROOT / "docs/scoring.md").read_text()
    for path in fields(Protocol):
        assert f"`{path}`" in text, path


def test_the_readme_shows_the_commands_that_ci_runs() -> None:
    test_command = "pip install -e '.[test]' && pytest"
    assert f"\n{test_command}\n" in (ROOT / "README.md").read_text()
    assert f"\n{test_command}\n" in (ROOT / ".ci/run").read_text()


def test_the_rooms_named_in_contributing_are_those_that_exist() -> None:
    listing = (ROOT / "CONTRIBUTING.md").read_text().split("```\nsynthkit/\n")[1].split("\neval/")[0]
    named = set(re.findall(r"^  (\w+)/ ", listing, re.MULTILINE)) | set(re.findall(r"(\w+\.py)", listing))
    rooms = {path.parent.name for path in (ROOT / "synthkit").glob("*/__init__.py")}
    modules = {path.name for path in (ROOT / "synthkit").glob("[a-z]*.py")}
    assert named == rooms | modules


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__


def test_the_workflow_runs_the_one_script_with_every_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["ci"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert supported == f">={job['strategy']['matrix']['python'][0]}"
    assert workflow["permissions"] == {"contents": "read"}


def test_the_picture_of_the_rooms_has_the_layers_that_the_linter_keeps() -> None:
    picture = (ROOT / "docs/images/architecture.svg").read_text()
    drawn = re.findall(r'class="room-name" x="[\d.]+" y="(\d+)"[^>]*>(\w+)<', picture)
    layers: dict[int, set[str]] = {}
    for height, room in drawn:
        layers.setdefault(int(height), set()).add(room)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (kept,) = (contract["layers"] for contract in contracts if contract["name"] == "one way down")
    assert [layers[height] for height in sorted(layers)] == [set(layer.split(" | ")) for layer in kept]


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/images/architecture.svg", "CONTRIBUTING.md"])
def test_files_of_the_package_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    roots = (ROOT, ROOT / "synthkit", ROOT / "eval", ROOT / "eval/synthkit_eval")
    text = text.split("```\nsynthkit/")[0] + text.rpartition("bench/\n```")[2]  # without the listing of rooms
    named = set(re.findall(r"(?<![\w/.-])(?:[a-z_]+/)*\w+\.py\b|(?<![\w/.-])(?:[a-z_]+/)+(?=[`<. ])", text))
    assert named
    for path in named:
        assert any((root / path).exists() for root in roots), path
