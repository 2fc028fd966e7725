"""Score files: what is written comes back, and what is missing, old or damaged is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthkit.errors import ScoreError
from synthkit_eval.score_detail import schema
from synthkit_eval.score_files import (
    HANDED_IN,
    OWN,
    Scored,
    read_score,
    read_scored,
    read_scores,
    write_score,
    write_scores,
)
from tests.helpers.scores import ECD, MIXUP, detail, put, score


def same(one: Scored, other: Scored) -> bool:
    return (
        one.score == other.score
        and one.detail.ids == other.detail.ids
        and np.array_equal(one.detail.labels, other.detail.labels)
        and np.array_equal(one.detail.predictions, other.detail.predictions)
        and (one.detail.histories, one.detail.classes) == (other.detail.histories, other.detail.classes)
    )


def test_a_score_comes_back_from_its_two_files(tmp_path: Path) -> None:
    made = score(ECD, method="mixup", fid=2.0)
    scored = Scored(made, detail(made))
    write_score(scored, tmp_path / "deep" / "s.json")
    assert same(read_scored(tmp_path / "deep" / "s.json"), scored)
    lines = (tmp_path / "deep" / "s.json").read_text().splitlines()
    assert len(lines) < 60
    assert json.loads("\n".join(lines)) == json.loads(made.model_dump_json())


def test_one_parquet_file_holds_the_scores_of_a_study_in_little_room(tmp_path: Path) -> None:
    made = [score([value] * 3, method="mixup", name=f"r{n}") for n, value in enumerate([0.9, 0.95] * 20)]
    all_of_them = [Scored(one, detail(one)) for one in made]
    write_scores(all_of_them, tmp_path / "scores.parquet")
    assert all(map(same, read_scores(tmp_path / "scores.parquet"), all_of_them))
    # 40 scores of 3 runs on 2,000 images: with ids and labels, 960 kB of plain numbers and text.
    assert (tmp_path / "scores.parquet").stat().st_size < 100_000


def test_what_is_missing_or_of_another_score_is_told(tmp_path: Path) -> None:
    path = put(tmp_path, "s", score(ECD, method="mixup"))
    other = put(tmp_path, "other", score(MIXUP, method="mixup"))
    other.with_suffix(".parquet").replace(path.with_suffix(".parquet"))
    with pytest.raises(ScoreError, match=r"s\.parquet: does not belong to s\.json; score the release again"):
        read_scored(path)
    path.with_suffix(".parquet").unlink()
    with pytest.raises(ScoreError, match=r"s\.parquet: cannot be read: No such file"):
        read_scored(path)


def test_a_score_of_the_first_format_says_so(tmp_path: Path) -> None:
    data = json.loads(score(ECD).model_dump_json()) | {"format_version": 1, "classes": []}
    del data["data"]["kin"]
    (tmp_path / "s.json").write_text(json.dumps(data))
    with pytest.raises(ScoreError, match=r"s\.json: is a score of format 1, this version reads format 2;"):
        read_score(tmp_path / "s.json")


def test_a_file_without_scores_and_what_is_no_score_are_told(tmp_path: Path) -> None:
    write_scores([], tmp_path / "none.parquet")
    with pytest.raises(ScoreError, match=r"none\.parquet: holds no scores"):
        read_scores(tmp_path / "none.parquet")
    for text in ("[" * 200_000, "{}", "null", "1e999", ""):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(ScoreError, match=r"s\.json: is not a score: "):
            read_score(tmp_path / "s.json")


def test_a_file_that_holds_too_much_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "s", score(ECD, method="mixup")).with_suffix(".parquet")
    # Two times 2,000 ids and labels, four runs of 2,000 predictions; ids alone are 18 bytes each.
    assert len(read_scores(path, OWN._replace(values=40_000, unpacked=100_000))) == 1
    for limits in (OWN._replace(values=11_000), OWN._replace(unpacked=30_000)):
        with pytest.raises(ScoreError, match="it holds too many values"):
            read_scores(path, limits)
    with pytest.raises(ScoreError, match="is too large to hold scores"):
        read_scores(path, OWN._replace(bytes=1000))


def damaged(what: str, path: Path) -> None:
    table = pq.read_table(path)
    rows = table.to_pylist()
    match what:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-300])
            return
        case "columns":
            pq.write_table(table.drop_columns(["labels"]), path)
            return
        case "accuracy":
            rows[0]["runs"][0]["predictions"][0] += 1
        case "images":
            rows[0]["runs"][0]["predictions"].pop()
        case "twice":
            rows[0]["ids"][1] = rows[0]["ids"][0]
        case "run":
            rows[0]["runs"].pop()
        case "class":
            rows[0]["classes"].pop()
        case "null":
            rows[0]["runs"][0] = None
        case "classes":
            rows[0]["score"] = rows[0]["score"].replace('"classes":10,', f'"classes":{2**60},')
        case "score":
            rows[0]["score"] = None
        case "label":
            rows[0]["labels"][0] = rows[0]["runs"][0]["predictions"][0] = 4000
            for run in rows[0]["runs"]:
                run["predictions"][0] = 4000
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), path)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated", ""),
        ("columns", "its columns are not those of scores"),
        ("accuracy", "its predictions do not have the accuracies of the score"),
        ("images", ""),
        ("twice", "it does not hold the predictions of every run for every evaluation image"),
        ("run", "it does not hold the predictions of every run for every evaluation image"),
        ("class", "it does not hold every class"),
        ("classes", "it does not hold every class"),
        ("null", ""),
        ("score", "is not a score: Invalid JSON"),
        ("label", "it has labels outside the classes"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path: Path, what: str, message: str) -> None:
    path = put(tmp_path, "s", score(ECD, method="mixup")).with_suffix(".parquet")
    damaged(what, path)
    with pytest.raises(ScoreError) as error:
        read_scores(path)
    told = str(error.value)
    assert told.startswith(f"{path}: is damaged: {message}")
    assert "\n" not in told


def packed(path: Path, rows: list[dict[str, object]], **options: Any) -> Path:
    table = pa.Table.from_pylist(rows, schema=schema())
    pq.write_table(table, path, compression="zstd", **options)
    return path


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    empty = {"score": "", "ids": [], "labels": [], "classes": [], "runs": []}
    low = HANDED_IN._replace(values=100_000, unpacked=1 << 20)
    # A byte for thousands of values, or for a kilobyte of text; and a word that every image shares.
    cases = {
        "values": ([{**empty, "labels": [7] * 200_000}], low, "it holds too many values"),
        "text": ([{**empty, "score": "x" * (1 << 21)}], low, "it holds too many values"),
        "score": ([{**empty, "score": "x" * (1 << 23)}], HANDED_IN, "it has a text of 8,388,608 bytes"),
        "word": ([{**empty, "ids": ["x" * 5000] * 1000}], HANDED_IN, "it has a text of 5,000 bytes"),
        "scores": ([empty] * 1001, HANDED_IN, "it holds too many scores"),
    }
    for name, (rows, limits, message) in cases.items():
        path = packed(tmp_path / f"{name}.parquet", rows)
        assert path.stat().st_size < 20_000
        with pytest.raises(ScoreError, match=f"{name}.parquet: is damaged: {message}; "):
            read_scores(path, limits)


def test_pages_that_share_their_beginnings_are_refused(tmp_path: Path) -> None:
    row = {"score": "", "ids": ["x" * 999] * 2, "labels": [], "classes": [], "runs": []}
    columns = {"ids.list.element": "DELTA_BYTE_ARRAY"}
    path = packed(tmp_path / "s.parquet", [row], use_dictionary=False, column_encoding=columns)
    with pytest.raises(ScoreError, match="a page of it is packed in a way that scores are not"):
        read_scores(path)
    content = bytearray(path.read_bytes())
    content[4:12] = b"\xff" * 8
    path.write_bytes(content)
    with pytest.raises(ScoreError, match="a page of it has a header that no writer of scores makes"):
        read_scores(path)
