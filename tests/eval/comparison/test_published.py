"""Printed numbers are those of the papers, and stand beside scores of their protocol alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from synthkit.errors import ScoreError
from synthkit_eval.comparison.published import load_tables, read_table
from tests.conftest import Cli
from tests.helpers.paths import ROOT
from tests.helpers.scores import ECD, imagenet, put, score, table

PUBLISHED = {
    # (place, name, data, guidance, shots): overall, many, medium, few, FID
    ("Table 1", "random-image", "imagenet-lt-90", 10.0, None): (63.0, 72.4, 61.4, 55.3, 20.181),
    ("Table 1", "cutmix", "imagenet-lt-90", 10.0, None): (63.8, 69.5, 63.0, 59.0, 26.623),
    ("Table 1", "embed-mixup-dropout", "imagenet-lt-90", 10.0, None): (66.2, 72.2, 63.7, 62.7, 24.558),
    ("Table 1", "embed-cutmix-dropout", "imagenet-lt-90", 10.0, None): (66.9, 72.0, 65.2, 63.5, 20.433),
    ("Table 2", "Mix-Up GLMC", "imagenet-lt", None, None): (57.21, 64.76, 55.67, 42.19, None),
    ("Table 2", "Fill-Up", "imagenet-lt", None, None): (63.7, 69.0, 62.3, 54.6, None),
    ("Table 2", "LDM (txt)", "imagenet-lt", None, None): (57.9, 64.8, 54.6, 50.3, None),
    ("Table 2", "embed-cutmix-dropout", "imagenet-lt", 2.0, None): (59.6, 66.3, 56.6, 51.1, None),
    ("Table 3", "embed-cutmix-dropout", "imagenet-lt-90", 2.0, None): (73.3, 75.5, 72.0, 72.3, None),
    ("Table 3", "embed-cutmix-dropout", "imagenet-lt-90", 7.0, None): (70.5, 74.5, 68.5, 68.5, None),
    ("Figure 5", "embed-cutmix-dropout", "voc", 10.0, 16): (92.2, None, None, None, None),
    ("Figure 5", "embed-mixup-dropout", "coco", 10.0, 1): (72.7, None, None, None, None),
    ("Figure 5", "dropout", "caltech101", 10.0, 8): (95.0, None, None, None, None),
    ("Figure 5", "embed-cutmix-dropout", "flowers102", 10.0, 2): (85.7, None, None, None, None),
    ("Figure 5", "DA-Fusion", "coco", None, 1): (62.5, None, None, None, None),
    ("Figure 5", "RandAugment", "coco", None, 16): (77.5, None, None, None, None),
    ("Figure 5", "Real Guidance", "voc", None, 2): (69.6, None, None, None, None),
    ("Figure 5", "DA-Fusion", "caltech101", None, 4): (92.2, None, None, None, None),
    ("Figure 5", "RandAugment", "flowers102", None, 8): (83.3, None, None, None, None),
}


def test_published_numbers_are_those_of_the_paper() -> None:
    rows = {
        (table.place, row.name, table.data, row.guidance_scale, row.shots): (
            *(row.overall, row.many, row.medium, row.few, row.fid),
        )
        for table in load_tables()
        for row in table.scores
    }
    assert {key: rows[key] for key in PUBLISHED} == PUBLISHED
    places = [table.place for table in load_tables() for _ in table.scores]
    assert {place: places.count(place) for place in places} == {
        **{"Table 1": 10, "Table 2": 10, "Table 3": 4, "Figure 5": 80},
    }
    # Nearly all of them are of balanced tests in three groups; a slip of the pen would stand out.
    for printed in rows.values():
        overall, *groups = printed[:4]
        assert None in groups or min(groups) < overall < max(groups)


def test_what_the_paper_claims_of_few_shot_is_told_with_the_numbers() -> None:
    """Its method matches or improves on others, it says: not on COCO from 4 shots, Caltech101 from 8."""
    below = {}
    for found in load_tables():
        rows = [row for row in found.scores if row.shots is not None]
        own = {row.shots: row.overall for row in rows if row.method}
        best = {k: max(row.overall for row in rows if row.shots == k and not row.method) for k in own}
        if own:
            below[found.data] = [k for k in own if own[k] < best[k]]
    assert below == {"voc": [], "coco": [4, 8, 16], "caltech101": [8, 16], "flowers102": []}


def test_of_few_shot_overall_is_a_mean_over_classes() -> None:
    assert {(table.place, table.average) for table in load_tables()} == {
        *(("Table 1", "images"), ("Table 2", "images"), ("Table 3", "images"), ("Figure 5", "classes")),
    }


def test_published_rows_stand_beside_a_score_of_their_protocol(cli: Cli) -> None:
    put(cli.folder, "mine", imagenet(changed=["evaluation.list=/data/ImageNet_LT_test.txt"]))
    text = cli("compare", "mine.json").stdout
    printed = [one.split() for one in text.splitlines() if one.startswith("published: ")]
    assert len(printed) == 14
    assert printed[0] == [
        *("published:", "random-image", "random-image", "10", "63.0", "72.4", "61.4", "55.3", "–", "20.181"),
        *("–", "arXiv", "2502.04475,", "Table", "1"),
    ]
    assert "Feature space of FID 1: inception, FID 2: Inception (clean-fid)." in text
    assert (
        "Table 3: ResNet-18; overall is over images; what differs: accuracies on the validation images that"
        in text
    )
    rows = table(cli, "mine.json")
    assert [one["published"] for one in rows] == ["no"] + 14 * ["yes"]
    assert {one["source"] for one in rows[1:]} == {"arXiv 2502.04475, Table 1", "arXiv 2502.04475, Table 3"}
    assert all(one["to_real_only"] == "" for one in rows)


@pytest.mark.parametrize(
    "changes",
    [{"changed": ["epochs=5"]}, {"changed": ["images.size=32"]}, {"classes": 89}, {"protocol": "mine"}],
)
def test_published_rows_stay_away_from_other_protocols(cli: Cli, changes: dict[str, Any]) -> None:
    put(cli.folder, "mine", imagenet(**changes))
    assert "published" not in cli("compare", "mine.json").stdout


def test_published_rows_of_few_shot_are_of_the_data_set_and_the_shots(cli: Cli) -> None:
    facts = {"method": "dropout", "protocol": "few-shot", "trial": 0}
    as_published = facts | {"protocol": "few-shot-as-published"}
    put(cli.folder, "voc", score(ECD, name="voc-4shot", shots=4, classes=20, **facts))
    assert [(one["name"], one["overall"]) for one in table(cli, "voc.json")[1:]] == [
        *(("embed-cutmix-dropout", "91.7"), ("DA-Fusion", "76.4"), ("Real Guidance", "75.0")),
        ("RandAugment", "71.4"),
    ]
    (about,) = [line for line in cli("compare", "voc.json").stdout.splitlines() if "Published in" in line]
    assert "overall is a mean of per-class accuracies, as class_mean of a score; what differs: batch" in about
    put(cli.folder, "theirs", score(ECD, name="voc-4shot", shots=4, classes=20, **as_published))
    assert len(table(cli, "theirs.json")) == 5
    put(cli.folder, "mine", score(ECD, name="my-birds", shots=4, classes=20, **facts))
    assert len(table(cli, "mine.json")) == 1


def test_a_published_file_with_a_slip_is_told(tmp_path: Path) -> None:
    good = (ROOT / "eval" / "published" / "few_shot_voc.yaml").read_text()
    for bad, message in (
        (
            good.replace("overall: 65.7", "overall: 657"),
            "scores.5.overall: Input should be less than or equal to 100",
        ),
        (good.replace("overall: 65.7", "accuracy: 65.7"), "scores.5.overall: Field required"),
        (good.replace("classes: 20", "classes: '20'"), "classes: Input should be a valid integer"),
        (good.replace("classes: 20", "classes: ["), "is not plain YAML"),
    ):
        path = tmp_path / "bad.yaml"
        path.write_text(bad)
        with pytest.raises(ScoreError, match=re.escape(f"{path}: {message}")):
            read_table(path)
