"""The pages of results are what the committed scores say."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import Cli
from tests.helpers.paths import ROOT

STUDIES = sorted(path.parent.name for path in (ROOT / "eval/studies").glob("*/study.yaml"))
PAGES = ROOT / "docs/results"
# Comparing a study takes seconds.
BY_DEFAULT = ("dropout_glyphs",)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in BY_DEFAULT else pytest.mark.slow) for name in STUDIES],
)
def test_a_page_is_what_compare_makes_of_the_scores(cli: Cli, name: str) -> None:
    study = ROOT / "eval/studies" / name
    result = cli("compare", study / "scores.parquet", "--contrasts", study / "study.yaml", "--out", "page.md")
    assert result.exit_code == 0, result.output
    assert (cli.folder / "page.md").read_text() == (PAGES / f"{name}.md").read_text()


def test_the_pipeline_of_the_studies_has_every_study_and_depends_on_files_that_are_there() -> None:
    pipeline = yaml.safe_load((ROOT / "eval/studies/dvc.yaml").read_text())["stages"]
    for stage in pipeline.values():
        assert sorted(stage["foreach"]) == STUDIES
        for item in stage["foreach"]:
            for place in stage["do"]["deps"]:
                assert (ROOT / place.replace("${item}", item)).exists(), place


def test_every_study_has_its_page() -> None:
    assert sorted(path.stem for path in PAGES.glob("*.md")) == STUDIES


def test_the_accuracies_that_are_told_stand_on_the_pages() -> None:
    pages = "".join(path.read_text() for path in PAGES.glob("*.md"))
    told = re.findall(r"\d+\.\d ±\d+\.\d", (ROOT / "docs/results.md").read_text().split("\n## How ")[0])
    assert told
    for accuracy in told:
        assert accuracy in pages, accuracy
