"""The page of scores: conclusions, plots with their numbers in a table, and names that stay text."""

from __future__ import annotations

import base64
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from synthkit_eval.comparison import scores_page as page_module
from synthkit_eval.comparison.scores_page import scores_page
from synthkit_eval.contrast import Contrast
from synthkit_eval.score import Score
from tests.conftest import Cli
from tests.helpers.commands import error_of, output_of
from tests.helpers.paths import ROOT
from tests.helpers.plots import sections
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, put, score

MADE = (
    score(REAL),
    score(RANDOM, method="random-image", operations=1.0, fid=9.0, vendi=3.0),
    score(ECD, method="dropout", operations=2.0, fid=8.0, vendi=5.0),
    score(MIXUP, method="mixup", operations=3.0, fid=7.0, vendi=4.0),
)
FIXED = [Contrast(of="dropout", against="mixup")]
HOSTILE = '<script>alert(1)</script>" onload="alert(2)'


class Reader(HTMLParser):
    """Tags with their attributes, and the text of headings, captions and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open, data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def read(made: Sequence[Score], fixed: Sequence[Contrast] = ()) -> Reader:
    return Reader(scores_page("few", "What it asks.", sections(made, fixed), []).decode())


def test_every_plot_is_an_svg_in_the_page_with_its_numbers_in_a_table() -> None:
    page = read(MADE, FIXED)
    captions = page.said("figcaption")
    assert captions == [
        "Accuracy",
        "Differences",
        "What each class gained",
        "Accuracy against cost",
        "Diversity against cost",
        "Accuracy against diversity",
        "Accuracy against FID",
        "Accuracy after each epoch",
    ]
    pictures = page.all("img")
    assert len(pictures) == len(captions)
    for picture in pictures:
        uri = picture["src"] or ""
        svg = base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,"))
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert picture["alt"] and int(picture["width"] or 0) > 500
    cells = page.said("td")
    # An interval, TFLOP, a class.
    assert any(" to " in cell for cell in cells)
    assert "2,000" in cells and "class 0" in page.said("th")
    assert any(text.startswith("Shown (") for text in page.said("p"))
    assert page.said("summary").count("As a table") >= 7


def test_names_are_text_whatever_they_are() -> None:
    made = [score(REAL), score(ECD, method="dropout", name=HOSTILE)]
    text = scores_page(HOSTILE, HOSTILE, sections(made), []).decode()
    assert "<script>alert" not in text
    page = Reader(text)
    assert HOSTILE in page.said("h1")
    assert len(page.all("script")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    (policy,) = (one["content"] for one in page.all("meta") if one.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; ")
    assert all((one["src"] or "").startswith("data:") for one in page.all("img"))
    assert all((one["href"] or "").startswith("#") for one in page.all("a"))


def test_one_score_has_no_empty_section_and_commands_are_set_as_such() -> None:
    page = read([score(ECD, method="dropout")])
    told = [text for tag, text in page.texts if tag not in ("script", "style")]
    assert {"score", "differences tested"} <= {*told}
    assert any(text.startswith("Accuracies are top-1 in percent") for text in told)
    assert not any(text.startswith("Differences are paired") for text in told)
    assert not any("`" in text for text in told)
    assert any(text.startswith("synthkit eval releases/") for text in page.said("code"))


def test_the_same_scores_make_the_same_bytes() -> None:
    assert scores_page("a", "", sections(MADE[:2]), []) == scores_page("a", "", sections(MADE[:2]), [])


def test_plots_without_room_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_ROOM", 100_000)
    text = scores_page("few", "", sections(MADE), []).decode()
    assert len(text) < 200_000
    page = Reader(text)
    assert page.said("figcaption")[0] == "Accuracy"
    assert any("found no room on this page" in said for said in page.said("p"))
    # The numbers that matter are there all the same.
    assert "real only" in page.said("bdi")


def test_many_classes_have_rows_of_the_extremes() -> None:
    made = [score(REAL, classes=100), score(ECD, method="dropout", classes=100)]
    page = read(made)
    assert page.said("td").count("class 99") <= 1
    assert sum(cell.startswith("class ") for cell in page.said("td")) == 40


@pytest.mark.slow
def test_the_command_writes_the_page_of_a_study(cli: Cli) -> None:
    study = shutil.copytree(ROOT / "eval/studies/dropout_glyphs", cli.folder / "study") / "study.yaml"
    told = output_of(cli, "page", study)
    assert told.startswith("dropout-glyphs.html: ")
    page = Reader((cli.folder / "dropout-glyphs.html").read_text())
    assert page.said("h1") == ["dropout-glyphs"]
    assert "difference in points" in page.said("th")
    assert "Accuracy against the number of real images" in page.said("figcaption")


def test_the_command_writes_the_page_of_scores(cli: Cli) -> None:
    put(cli.folder / "scores", "one", MADE[2])
    assert output_of(cli, "page", "scores", "--out", "all.html").startswith("all.html: ")
    files = sorted((cli.folder / "scores").glob("*.json"))
    assert output_of(cli, "page", *files).startswith("one-scores.html: ")
    assert output_of(cli, "page", "scores").startswith("scores.html: ")
    (cli.folder / "scores").rename(cli.folder / "digits-lt")
    assert output_of(cli, "page", "digits-lt").startswith("digits-lt-scores.html: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study.yaml"], "study.yaml: there is no such recipe or study file"),
        (["a.json", "b.json"], "a.json: there is no such score file"),
        (["scores", "--score", "a.json"], "--score and --set: are for the page of a release"),
        (["scores", "--out", "none/x.html"], "none/x.html: there is no folder none; make it"),
        (["small", "--contrasts", "study.yaml"], "--contrasts: is for the page of scores"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_and_nothing_written(
    cli: Cli, words: list[str], message: str
) -> None:
    put(cli.folder / "scores", "a", MADE[0])
    before = sorted(cli.folder.rglob("*"))
    assert message in error_of(cli, "page", *words)
    assert sorted(cli.folder.rglob("*")) == before


def test_how_to_read_stands_once_and_not_among_the_notes_of_a_section() -> None:
    # Differences in the first section alone: the second one has nothing to subtract.
    page = read((*MADE, score(ECD, method="dropout", training="d" * 64)))
    assert not [note for note in page.said("li") if note.startswith(("Accuracies are", "Differences are"))]
    for beginning in ("Accuracies are top-1 in percent", "Differences are paired by evaluation image"):
        assert sum(text.startswith(beginning) for text in page.said("p")) == 1
