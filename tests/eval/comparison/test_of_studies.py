"""Scores of studies side by side: names that tell models apart, contrasts in the CSV, and what is missing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from synthkit_eval.score import Score
from synthkit_eval.score_files import Scored, write_scores
from tests.conftest import Cli
from tests.helpers.scores import ECD, MIXUP, RANDOM, REAL, detail, row, score, table

STUDY = """\
name: few
protocol: digits-lt
grids: [{recipe: r.yaml}]
contrasts:
  - {of: dropout, against: mixup}
  - {of: dropout, against: mixup, part: many}
  - {of: dropout, against: real only}
"""


def write(path: Path, *made: Score) -> None:
    write_scores([Scored(one, detail(one)) for one in made], path)


def by(generator: str, made: Score) -> Score:
    assert made.release is not None
    facts = made.release.model_copy(update={"generator": generator, "kin": generator})
    return made.model_copy(update={"release": facts})


def test_releases_of_one_name_by_two_models_are_told_apart_by_the_model(cli: Cli) -> None:
    for number, generator in enumerate(("builtin:a", "builtin:b")):
        write(cli.folder / f"{number}.parquet", by(generator, score(ECD, method="dropout", name="few")))
    assert [one["name"] for one in table(cli, "0.parquet", "1.parquet")] == [
        "few by builtin:a",
        "few by builtin:b",
    ]


def test_the_csv_has_contrasts_against_any_row(cli: Cli) -> None:
    made = [
        score(values, method=method)
        for values, method in ((REAL, None), (RANDOM, "random-image"), (MIXUP, "mixup"), (ECD, "dropout"))
    ]
    write(cli.folder / "s.parquet", *made)
    (cli.folder / "study.yaml").write_text(STUDY)
    result = cli("compare", "s.parquet", "--contrasts", "study.yaml", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    found = row(rows, "digits-lt-dropout")
    assert [found[f"contrast_{n}_baseline"] for n in (1, 2)] == ["digits-lt-mixup"] * 2
    assert [found[f"contrast_{n}_part"] for n in (1, 2)] == ["overall", "many"]
    assert float(found["contrast_1_low"]) < float(found["contrast_1"]) < float(found["contrast_1_high"])
    assert (found["contrast_1_family"], found["contrast_1_declared"]) == ("3", "yes")
    # That against real images alone has its columns already.
    assert found["to_real_only_declared"] == "yes"
    assert "contrast_3" not in rows[0]
    assert row(rows, "digits-lt-mixup")["contrast_1"] == ""
    assert not any(name.startswith("contrast") for name in table(cli, "s.parquet")[0])


def test_a_study_without_real_only_scores_says_where_they_come_from(cli: Cli) -> None:
    write(cli.folder / "s.parquet", score(ECD, method="dropout"))
    assert (
        "`synthkit eval RELEASE --protocol digits-lt --real-only`, or `real_only: true` in the study's file, "
        "makes one."
    ) in cli("compare", "s.parquet").stdout
